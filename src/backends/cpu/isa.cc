#include "backends/cpu/isa.h"

#include <algorithm>
#include <cstdlib>

namespace verdict {
namespace {

CpuIsa HardwareIsa() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return CpuIsa::kAvx512;
  if (avx2) return CpuIsa::kAvx2;
#endif
  return CpuIsa::kBaseline;
}

}  // namespace

CpuIsa DetectedIsa() {
  static const CpuIsa isa = [] {
    const CpuIsa hardware = HardwareIsa();
    const char* wanted = std::getenv("VERDICT_CPU_ISA");
    if (wanted == nullptr) return hardware;
    for (CpuIsa level : {CpuIsa::kBaseline, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
      if (IsaName(level) == wanted) return std::min(level, hardware);
    }
    return hardware;
  }();
  return isa;
}

std::string_view IsaName(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kBaseline:
      return "baseline";
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
  }
  return "baseline";
}

}  // namespace verdict
