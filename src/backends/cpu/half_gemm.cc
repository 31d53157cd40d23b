#include "backends/cpu/half_gemm.h"

#include <algorithm>

#include "backends/cpu/half_gemm_kernels.h"
#include "backends/cpu/isa.h"
#include "ops/half.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kPanelColumns = 64;

template <typename Half>
void RoundRow(const float* x, int64_t k, uint16_t* a) {
  for (int64_t p = 0; p < k; ++p) a[p] = Half::Of(x[p]).bits;
  std::fill(a + k, a + HalfRowValues(k), uint16_t{0});
}

template <typename Half>
void Gemm(const HalfGemmArgs& args) {
  const int64_t row_values = HalfRowValues(args.k);
  const uint16_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, HalfPaddedColumns(args.n) - first);
    for (int64_t row = 0; row < args.m; ++row) {
      const uint16_t* a = args.a + row * row_values;
      for (int64_t j = 0; j < std::min(columns, args.n - first); ++j) {
        float sum = 0;
        for (int64_t p = 0; p < row_values; ++p) {
          const uint16_t weight = panel[p / 2 * columns * 2 + j * 2 + p % 2];
          sum += Half{a[p]}.ToFloat() * Half{weight}.ToFloat();
        }
        if (args.bias != nullptr) sum += args.bias[first + j];
        float& c = args.c[row * args.ldc + first + j];
        if (args.accumulate) sum += c;
        c = args.relu && sum < 0 ? 0 : sum;
      }
    }
    panel += row_values * columns;
  }
}

/// With what a level lacks taken from those below it.
HalfKernels Choose() {
  HalfKernels kernels = kHalfBaseline;
#if defined(__x86_64__)
  const Isa isa = CurrentIsa();
  if (isa >= Isa::kAvx2) kernels = kHalfAvx2;
  if (isa >= Isa::kAvx512) kernels = kHalfAvx512;
  if (isa >= Isa::kAvx512Bf16) kernels.gemm_bfloat16 = kHalfBf16.gemm_bfloat16;
  if (isa >= Isa::kAmx) kernels.gemm_bfloat16 = kHalfAmx.gemm_bfloat16;
#endif
  return kernels;
}

const HalfKernels& Kernels() {
  static const HalfKernels kernels = Choose();
  return kernels;
}

}  // namespace

const HalfKernels kHalfBaseline = {.round_bfloat16 = RoundRow<BFloat16>,
                                   .round_float16 = RoundRow<Float16>,
                                   .gemm_bfloat16 = Gemm<BFloat16>,
                                   .gemm_float16 = Gemm<Float16>};

void PackHalf(const uint16_t* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
              uint16_t* packed) {
  const int64_t padded = HalfPaddedColumns(n);
  for (int64_t first = 0; first < padded; first += kPanelColumns) {
    const int64_t end = std::min(first + kPanelColumns, padded);
    for (int64_t pair = 0; pair < k; pair += 2) {
      for (int64_t j = first; j < end; ++j) {
        for (int64_t p = pair; p < pair + 2; ++p) {
          *packed++ = p < k && j < n ? b[p * row_stride + j * column_stride] : uint16_t{0};
        }
      }
    }
  }
}

void RoundRows(HalfType type, const float* x, int64_t m, int64_t k, uint16_t* a) {
  const auto round =
      type == HalfType::kBFloat16 ? Kernels().round_bfloat16 : Kernels().round_float16;
  for (int64_t row = 0; row < m; ++row, x += k, a += HalfRowValues(k)) round(x, k, a);
}

void HalfGemm(const HalfGemmArgs& args) {
  if (args.type == HalfType::kBFloat16) {
    Kernels().gemm_bfloat16(args);
  } else {
    Kernels().gemm_float16(args);
  }
}

}  // namespace verdict::cpu
