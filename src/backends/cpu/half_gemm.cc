#include "backends/cpu/half_gemm.h"

#include <algorithm>

#include "ops/half.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kPanelColumns = 64;

float ToFloat(HalfType type, uint16_t bits) {
  return type == HalfType::kBFloat16 ? BFloat16{bits}.ToFloat() : Float16{bits}.ToFloat();
}

void RoundRowBaseline(HalfType type, const float* x, int64_t k, uint16_t* a) {
  for (int64_t p = 0; p < k; ++p) {
    a[p] = type == HalfType::kBFloat16 ? BFloat16::Of(x[p]).bits : Float16::Of(x[p]).bits;
  }
  std::fill(a + k, a + HalfRowValues(k), uint16_t{0});
}

void GemmBaseline(const HalfGemmArgs& args) {
  const int64_t row_values = HalfRowValues(args.k);
  const uint16_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, HalfPaddedColumns(args.n) - first);
    for (int64_t row = 0; row < args.m; ++row) {
      const uint16_t* a = args.a + row * row_values;
      for (int64_t j = 0; j < std::min(columns, args.n - first); ++j) {
        float sum = 0;
        for (int64_t p = 0; p < row_values; ++p) {
          sum += ToFloat(args.type, a[p]) *
                 ToFloat(args.type, panel[p / 2 * columns * 2 + j * 2 + p % 2]);
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

}  // namespace

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
  for (int64_t row = 0; row < m; ++row, x += k, a += HalfRowValues(k)) {
    RoundRowBaseline(type, x, k, a);
  }
}

void HalfGemm(const HalfGemmArgs& args) { GemmBaseline(args); }

}  // namespace verdict::cpu
