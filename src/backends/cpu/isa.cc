#include "backends/cpu/isa.h"

#define HWY_BROKEN_EMU128 1  // as gemm.cc
#include <hwy/targets.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace verdict::cpu {
namespace {

Isa Choose() {
  const Isa hardware = HardwareIsa();
  Isa chosen = hardware;
  if (const char* wanted = std::getenv("VERDICT_CPU_ISA")) {
    if (const auto level = ParseIsa(wanted)) {
      chosen = std::min(*level, hardware);
    } else {
      std::fprintf(stderr,
                   "verdict: VERDICT_CPU_ISA=%.40s is ignored: it is none of baseline, avx2, "
                   "avx512\n",
                   wanted);
    }
  }
  // Highway's own dispatch follows.
  int64_t disabled = 0;
  if (chosen < Isa::kAvx512) disabled |= HWY_AVX3 | HWY_AVX3_DL;
  if (chosen < Isa::kAvx2) disabled |= HWY_AVX2 | HWY_SSE4 | HWY_SSSE3;
  hwy::DisableTargets(disabled);
  return chosen;
}

}  // namespace

Isa CurrentIsa() {
  static const Isa isa = Choose();
  return isa;
}

Isa HardwareIsa() {
  // Read once: Choose makes Highway report fewer.
  static const int64_t targets = hwy::SupportedTargets();
  if ((targets & HWY_AVX3) != 0) return Isa::kAvx512;
  if ((targets & HWY_AVX2) != 0) return Isa::kAvx2;
  return Isa::kBaseline;
}

std::optional<Isa> ParseIsa(std::string_view name) {
  for (Isa level : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (IsaName(level) == name) return level;
  }
  return std::nullopt;
}

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "baseline";
}

}  // namespace verdict::cpu
