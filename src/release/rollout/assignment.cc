#include "release/rollout/assignment.h"

namespace verdict {
namespace {

uint64_t Fnv1a(std::string_view text, uint64_t hash) {
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

/// FNV-1a's high bits hardly depend on the last bytes; after this every bit depends on all.
uint64_t Spread(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

bool GoesToCanary(std::string_view rollout_id, std::string_view key, uint32_t steps) {
  const uint64_t salt = Spread(Fnv1a(rollout_id, 0xcbf29ce484222325));
  const uint64_t hash = Spread(Fnv1a(key, salt));
  // The upper 32 bits as a fraction of 2^32: no modulo, and nested as `steps` grows.
  return ((hash >> 32) * kRolloutSteps >> 32) < steps;
}

}  // namespace verdict
