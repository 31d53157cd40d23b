// As gemm.cc: compiled once per instruction set, one is picked at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/softmax.cc"
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>
#include "backends/cpu/softmax.h"

#include <algorithm>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace verdict::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// e^x for x <= 0, relative error below 1e-7 (0 below e^-87.3): 2^n times a polynomial of degree 6
/// in what is left of x, fitted by reweighted least squares on [-ln 2 / 2, ln 2 / 2]. NaN stays
/// NaN.
HWY_INLINE V ExpV(D d, V x) {
  const hn::RebindToSigned<D> di;
  // Adding 1.5 * 2^23 rounds to an integer, which stands in the lowest bits; 127 is the exponent's
  // bias.
  const V magic = hn::Set(d, 12582912.0F + 127.0F);
  const V rounded = hn::MulAdd(x, hn::Set(d, 1.44269504F), magic);
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, rounded)));
  const V n = hn::Sub(rounded, magic);
  // ln 2 in two parts, of which the first has few enough bits for exact products.
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  V p = hn::MulAdd(r, hn::Set(d, 1.38143206e-3F), hn::Set(d, 8.36885162e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16684002e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665196F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3F)), hn::Mul(p, power));
}

/// One row, as a source of scores * scale + mask.
template <bool kMasked>
struct Row {
  const float* scores;
  const float* mask;
  V scale;

  HWY_INLINE V At(D d, int64_t i) const {
    const V x = hn::LoadU(d, scores + i);
    return kMasked ? hn::MulAdd(x, scale, hn::LoadU(d, mask + i)) : hn::Mul(x, scale);
  }
  template <typename M>
  HWY_INLINE V At(D d, int64_t i, M first) const {
    const V x = hn::MaskedLoad(first, d, scores + i);
    return kMasked ? hn::MulAdd(x, scale, hn::MaskedLoad(first, d, mask + i)) : hn::Mul(x, scale);
  }
};

/// Over the first `count` of a row.
template <bool kMasked>
HWY_INLINE float MaxOfRow(const Row<kMasked>& row, int64_t count) {
  const D d;
  V max = hn::Set(d, -kInfinity);
  int64_t i = 0;
  // Max gives its second operand where one is NaN, as std::max in the reference kernel does.
  for (; i + kLanes <= count; i += kLanes) max = hn::Max(row.At(d, i), max);
  if (i < count) {
    const auto first = hn::FirstN(d, static_cast<size_t>(count - i));
    max = hn::IfThenElse(first, hn::Max(row.At(d, i, first), max), max);
  }
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

template <bool kMasked>
HWY_INLINE float NumeratorsOfRow(const Row<kMasked>& row, int64_t count, float max, float* to) {
  const D d;
  const V top = hn::Set(d, max);
  V sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const V y = ExpV(d, hn::Sub(row.At(d, i), top));
    hn::StoreU(y, d, to + i);
    sum = hn::Add(sum, y);
  }
  if (i < count) {
    const auto first = hn::FirstN(d, static_cast<size_t>(count - i));
    const V y = ExpV(d, hn::Sub(row.At(d, i, first), top));
    hn::BlendedStore(y, first, d, to + i);
    sum = hn::Add(sum, hn::IfThenElseZero(first, y));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

template <bool kMasked>
void Numerators(const SoftmaxArgs& args, float* sums) {
  const D d;
  const auto row_at = [&](int64_t row) HWY_ATTR {
    return Row<kMasked>{args.scores + row * args.stride, args.mask + row * args.mask_stride,
                        hn::Set(d, args.scale)};
  };
  const auto seen = [&](int64_t row) { return std::min(args.seen_by_first + row, args.count); };
  // All greatest first: each waits for its row's last lanes, and the next row need not.
  for (int64_t row = 0; row < args.rows; ++row) sums[row] = MaxOfRow(row_at(row), seen(row));
  for (int64_t row = 0; row < args.rows; ++row) {
    float* to = args.scores + row * args.stride;
    const float max = sums[row];
    const int64_t count = max == -kInfinity ? 0 : seen(row);
    sums[row] = count == 0 ? 0.0F : NumeratorsOfRow(row_at(row), count, max, to);
    if (count < args.count) std::fill(to + count, to + args.count, 0.0F);
  }
}

void SoftmaxNumeratorsImpl(const SoftmaxArgs& args, float* sums) {
  if (args.mask == nullptr) {
    Numerators<false>(args, sums);
  } else {
    Numerators<true>(args, sums);
  }
}

void ScaleRowsImpl(float* values, int64_t rows, int64_t count, int64_t stride,
                   const float* factors) {
  const D d;
  for (int64_t row = 0; row < rows; ++row) {
    float* to = values + row * stride;
    const V factor = hn::Set(d, factors[row]);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, to + i), factor), d, to + i);
    }
    for (; i < count; ++i) to[i] *= factors[row];
  }
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(SoftmaxNumeratorsImpl);
HWY_EXPORT(ScaleRowsImpl);

void SoftmaxNumerators(const SoftmaxArgs& args, float* sums) {
  HWY_DYNAMIC_DISPATCH(SoftmaxNumeratorsImpl)(args, sums);
}

void ScaleRows(float* values, int64_t rows, int64_t count, int64_t stride, const float* factors) {
  HWY_DYNAMIC_DISPATCH(ScaleRowsImpl)(values, rows, count, stride, factors);
}

}  // namespace verdict::cpu
#endif  // HWY_ONCE
