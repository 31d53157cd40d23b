#include "tools/load/arrivals.h"

#include <algorithm>
#include <cmath>

namespace verdict::load {
namespace {

constexpr double kNsPerSecond = 1e9;
// Beyond any run, and exact as an int64.
constexpr double kForever = 9e18;

}  // namespace

Arrivals Arrivals::Poisson(double rate_per_s, uint64_t seed, int part, int parts) {
  Arrivals arrivals(ArrivalKind::kPoisson, kNsPerSecond * parts / rate_per_s, part, parts);
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(part)};
  arrivals.random_.seed(sequence);
  return arrivals;
}

Arrivals Arrivals::Constant(double rate_per_s, int part, int parts) {
  return {ArrivalKind::kConstant, kNsPerSecond / rate_per_s, part, parts};
}

Arrivals Arrivals::Replay(std::span<const int64_t> times_ns, int part, int parts) {
  Arrivals arrivals(ArrivalKind::kReplay, 0, part, parts);
  arrivals.times_ns_ = times_ns;
  return arrivals;
}

int64_t Arrivals::Next() {
  index_ += parts_;
  switch (kind_) {
    case ArrivalKind::kPoisson: {
      // Our own inversion: std::exponential_distribution differs between libraries.
      const double uniform = static_cast<double>(random_() >> 11) * 0x1p-53;  // [0, 1)
      now_ns_ = std::min(now_ns_ - std::log1p(-uniform) * gap_ns_, kForever);
      return static_cast<int64_t>(now_ns_);
    }
    case ArrivalKind::kConstant:
      return static_cast<int64_t>(std::min(static_cast<double>(index_) * gap_ns_, kForever));
    case ArrivalKind::kReplay:
      if (static_cast<size_t>(index_) < times_ns_.size()) {
        return times_ns_[static_cast<size_t>(index_)];
      }
      break;
    case ArrivalKind::kClosed:
      break;
  }
  return kEnd;
}

}  // namespace verdict::load
