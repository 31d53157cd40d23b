#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <array>

#include "backends/cpu/isa.h"
#include "backends/cpu/tactics.h"

namespace verdict {
namespace {

std::vector<const Tactic*> Candidates(std::string_view op) {
  static constexpr std::array kTactics = {
      &cpu::kAttention,    &cpu::kBFloat16Gru,        &cpu::kBFloat16Lstm,
      &cpu::kFloat16Gru,   &cpu::kFloat16Lstm,        &cpu::kFusedGemm,
      &cpu::kGru,          &cpu::kHalfGemm,           &cpu::kInt8Gru,
      &cpu::kInt8Lstm,     &cpu::kLayerNormalization, &cpu::kLstm,
      &cpu::kMatMul,       &cpu::kQuantizedGemm,      &cpu::kSoftmax,
      &cpu::kTreeEnsemble,
  };
  cpu::CurrentIsa();  // before any kernel is dispatched
  std::vector<const Tactic*> candidates;
  for (const Tactic* tactic : kTactics) {
    if (tactic->op == op) candidates.push_back(tactic);
  }
  return candidates;
}

}  // namespace

const Backend kCpuBackend = {
    .name = "cpu",
    .available = [] { return OkStatus(); },
    // What is packed for int8 and half precision is the same from the first level to the last.
    .fingerprint =
        [] { return std::string(cpu::IsaName(std::min(cpu::CurrentIsa(), cpu::Isa::kAvx512))); },
    .candidates = Candidates};

}  // namespace verdict
