#include "backends/registry.h"

#include <array>

#include "backends/cpu/cpu_backend.h"
#include "backends/reference/reference_backend.h"

namespace verdict {

std::span<const Backend* const> AllBackends() {
  static constexpr std::array<const Backend*, 2> kBackends = {&kCpuBackend, &kReferenceBackend};
  return kBackends;
}

const Tactic* FindTactic(std::string_view op, std::string_view id) {
  for (const Backend* backend : AllBackends()) {
    if (!backend->available().ok()) continue;
    for (const Tactic* tactic : backend->candidates(op)) {
      if (tactic->id == id) return tactic;
    }
  }
  return nullptr;
}

std::string TargetFingerprint() {
  std::string text;
  for (const Backend* backend : AllBackends()) {
    if (!backend->available().ok()) continue;
    const std::string detail = backend->fingerprint();
    if (detail.empty()) continue;
    text += (text.empty() ? "" : " ") + std::string(backend->name) + ":" + detail;
  }
  return text;
}

}  // namespace verdict
