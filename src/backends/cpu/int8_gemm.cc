#include "backends/cpu/int8_gemm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/int8_gemm_kernels.h"
#include "backends/cpu/isa.h"
#include "ops/quantize.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kPanelColumns = 64;

void QuantizeRowBaseline(const float* x, int64_t k, float scale, int32_t zero_point, uint8_t* a) {
  const auto zero = static_cast<uint8_t>(zero_point);
  for (int64_t p = 0; p < k; ++p) a[p] = Quantize(x[p], scale, zero);
  std::fill(a + k, a + Int8RowBytes(k), zero);
}

float LargestBaseline(const float* x, int64_t k) {
  float largest = 0;
  for (int64_t p = 0; p < k; ++p) {
    if (std::isnan(x[p])) return x[p];
    largest = std::max(largest, std::fabs(x[p]));
  }
  return largest;
}

void GemmBaseline(const Int8GemmArgs& args) {
  const int64_t row_bytes = Int8RowBytes(args.k);
  const int8_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, Int8PaddedColumns(args.n) - first);
    for (int64_t row = 0; row < args.m; ++row) {
      const uint8_t* a = args.a + row * row_bytes;
      for (int64_t j = 0; j < std::min(columns, args.n - first); ++j) {
        // Unsigned, since it wraps as vectors do: offsets come from a file.
        auto sum = static_cast<uint32_t>(args.offsets[first + j]);
        for (int64_t p = 0; p < row_bytes; ++p) {
          sum += static_cast<uint32_t>(int32_t{a[p]} * panel[p / 4 * columns * 4 + j * 4 + p % 4]);
        }
        const float scale = args.b_scales[first + j] * args.a_scales[row];
        float y =
            std::fma(static_cast<float>(static_cast<int32_t>(sum)), scale, args.bias[first + j]);
        float& c = args.c[row * args.ldc + first + j];
        if (args.accumulate) y += c;
        c = args.relu && y < 0 ? 0 : y;
      }
    }
    panel += row_bytes * columns;
  }
}

const Int8Kernels& Kernels() {
  switch (CurrentIsa()) {
#if defined(__x86_64__)
    case Isa::kAmx:
    case Isa::kAvx512Bf16:
    case Isa::kAvx512Vnni:
      return kInt8Vnni;
    case Isa::kAvx512:
    case Isa::kAvx2:
      return kInt8Avx2;
#endif
    default:
      return kInt8Baseline;
  }
}

}  // namespace

const Int8Kernels kInt8Baseline = {QuantizeRowBaseline, LargestBaseline, GemmBaseline};

void PackInt8(const int8_t* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
              int32_t zero_point, int8_t* packed, int32_t* offsets) {
  const int64_t padded = Int8PaddedColumns(n);
  std::fill_n(offsets, padded, 0);
  for (int64_t first = 0; first < padded; first += kPanelColumns) {
    const int64_t end = std::min(first + kPanelColumns, padded);
    for (int64_t group = 0; group < Int8RowBytes(k); group += 4) {
      for (int64_t j = first; j < end; ++j) {
        for (int64_t p = group; p < group + 4; ++p) {
          const int8_t value = p < k && j < n ? b[p * row_stride + j * column_stride] : int8_t{0};
          *packed++ = value;
          offsets[j] -= zero_point * value;
        }
      }
    }
  }
}

void QuantizeRows(const float* x, int64_t m, int64_t k, float scale, int32_t zero_point, uint8_t* a,
                  float* scales) {
  const Int8Kernels& kernels = Kernels();
  for (int64_t row = 0; row < m; ++row, x += k, a += Int8RowBytes(k)) {
    scales[row] = scale;
    if (scale == 0) {
      const float largest = kernels.largest(x, k);
      scales[row] = largest == 0 ? 1.0F : largest / 127.0F;
      // No quotient by a number that small is right.
      if (scales[row] < std::numeric_limits<float>::min()) scales[row] = 1.0F;
    }
    kernels.quantize_row(x, k, scales[row], zero_point, a);
  }
}

void Int8Gemm(const Int8GemmArgs& args) {
#if defined(__x86_64__)
  if (CurrentIsa() == Isa::kAmx) return kInt8Amx.gemm(args);
#endif
  Kernels().gemm(args);
}

}  // namespace verdict::cpu
