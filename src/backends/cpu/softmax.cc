// As gemm.cc: compiled once per instruction set, one is picked at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/softmax.cc"
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
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

/// Highway's Exp gives 0 for NaN; x is at most 0, -inf included.
HWY_INLINE V ExpV(D d, V x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x)); }

float SoftmaxNumeratorsImpl(float* scores, int64_t count, float scale, const float* mask) {
  const D d;
  const V factor = hn::Set(d, scale);
  const V lowest = hn::Set(d, -kInfinity);
  const int64_t whole = count / kLanes * kLanes;
  const auto last = hn::FirstN(d, static_cast<size_t>(count - whole));
  V max = lowest;
  for (int64_t i = 0; i < whole; i += kLanes) {
    V x = hn::LoadU(d, scores + i);
    x = mask == nullptr ? hn::Mul(x, factor) : hn::MulAdd(x, factor, hn::LoadU(d, mask + i));
    hn::StoreU(x, d, scores + i);
    max = hn::Max(x, max);
  }
  if (whole < count) {
    V x = hn::MaskedLoad(last, d, scores + whole);
    x = mask == nullptr ? hn::Mul(x, factor)
                        : hn::MulAdd(x, factor, hn::MaskedLoad(last, d, mask + whole));
    hn::BlendedStore(x, last, d, scores + whole);
    max = hn::Max(hn::IfThenElse(last, x, lowest), max);
  }
  max = hn::MaxOfLanes(d, max);
  if (hn::GetLane(max) == -kInfinity) {
    std::fill_n(scores, count, 0.0F);
    return 0;
  }
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const V y = ExpV(d, hn::Sub(hn::LoadU(d, scores + i), max));
    hn::StoreU(y, d, scores + i);
    sum = hn::Add(sum, y);
  }
  if (whole < count) {
    const V y = ExpV(d, hn::Sub(hn::MaskedLoad(last, d, scores + whole), max));
    hn::BlendedStore(y, last, d, scores + whole);
    sum = hn::Add(sum, hn::IfThenElseZero(last, y));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void ScaleImpl(float* values, int64_t count, float factor) {
  const D d;
  const V by = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, values + i), by), d, values + i);
  }
  for (; i < count; ++i) values[i] *= factor;
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(SoftmaxNumeratorsImpl);
HWY_EXPORT(ScaleImpl);

float SoftmaxNumerators(float* scores, int64_t count, float scale, const float* mask) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxNumeratorsImpl)(scores, count, scale, mask);
}

void Scale(float* values, int64_t count, float factor) {
  HWY_DYNAMIC_DISPATCH(ScaleImpl)(values, count, factor);
}

}  // namespace verdict::cpu
#endif  // HWY_ONCE
