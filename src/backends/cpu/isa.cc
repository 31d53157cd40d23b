#include "backends/cpu/isa.h"

#define HWY_BROKEN_EMU128 1  // as gemm.cc
#include <hwy/targets.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace verdict::cpu {
namespace {

#if defined(__x86_64__)

/// One bit of cpuid's leaf 7, of register ebx, ecx or edx; of its second page, of eax.
bool HasFeature(char which, int bit) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, which == 'a' ? 1 : 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  const unsigned value = which == 'a' ? eax : which == 'b' ? ebx : which == 'c' ? ecx : edx;
  return (value >> bit & 1U) != 0;
}

/// With BW and VL. That the kernel keeps AVX-512's registers, Highway has asked.
bool HasVnni() { return HasFeature('b', 30) && HasFeature('b', 31) && HasFeature('c', 11); }

bool HasBf16() { return HasFeature('a', 5); }

/// Tiles and their products of int8 and bfloat16, if the kernel lets this process have them.
bool HasAmx() {
  constexpr int64_t kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int64_t kTileData = 18;
  return HasFeature('d', 22) && HasFeature('d', 24) && HasFeature('d', 25) &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#else

bool HasVnni() { return false; }
bool HasBf16() { return false; }
bool HasAmx() { return false; }

#endif

Isa Choose() {
  const Isa hardware = HardwareIsa();
  Isa chosen = hardware;
  if (const char* wanted = std::getenv("VERDICT_CPU_ISA")) {
    if (const auto level = ParseIsa(wanted)) {
      chosen = std::min(*level, hardware);
    } else {
      std::fprintf(stderr,
                   "verdict: VERDICT_CPU_ISA=%.40s is ignored: it is none of baseline, avx2, "
                   "avx512, avx512_vnni, avx512_bf16, amx\n",
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
  if ((targets & HWY_AVX3) != 0) {
    static const Isa best = !HasVnni()   ? Isa::kAvx512
                            : !HasBf16() ? Isa::kAvx512Vnni
                            : !HasAmx()  ? Isa::kAvx512Bf16
                                         : Isa::kAmx;
    return best;
  }
  if ((targets & HWY_AVX2) != 0) return Isa::kAvx2;
  return Isa::kBaseline;
}

std::optional<Isa> ParseIsa(std::string_view name) {
  for (Isa level :
       {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAvx512Bf16, Isa::kAmx}) {
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
    case Isa::kAvx512Vnni:
      return "avx512_vnni";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
  }
  return "baseline";
}

}  // namespace verdict::cpu
