// As gemm.cc: compiled once per instruction set, one is picked at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/layer_norm_kernel.cc"
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>
#include "backends/cpu/layer_norm_kernel.h"

#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace verdict::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

/// Calls body(index, load, store) for each vector of [0, size), the last one partial: lanes past
/// the end load as `rest`.
template <typename Body>
HWY_INLINE void ForEachVector(int64_t size, V rest, Body body) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    body(
        i, [&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); },
        [&](V v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  if (i == size) return;
  const auto mask = hn::FirstN(d, static_cast<size_t>(size - i));
  body(
      i,
      [&](const float* p)
          HWY_ATTR { return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, p + i), rest); },
      [&](V v, float* p) HWY_ATTR { hn::BlendedStore(v, mask, d, p + i); });
}

/// As the reference kernel, in double: for rows whose squares are no floats.
void RowInDouble(const NormalizeRowsArgs& args, const float* x, float* y) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < args.size; ++i) mean += x[i];
  mean /= static_cast<double>(args.size);
  for (int64_t i = 0; i < args.size; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double inverse = 1 / std::sqrt(squares / static_cast<double>(args.size) + args.epsilon);
  for (int64_t i = 0; i < args.size; ++i) {
    const float value = static_cast<float>((x[i] - mean) * inverse) * args.scale[i];
    y[i] = args.bias == nullptr ? value : value + args.bias[i];
  }
}

void NormalizeRowsImpl(const NormalizeRowsArgs& args) {
  const D d;
  const auto count = static_cast<float>(args.size);
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* x = args.x + row * args.size;
    float* y = args.y + row * args.size;
    V sum = hn::Zero(d);
    ForEachVector(args.size, hn::Zero(d),
                  [&](int64_t, auto load, auto) HWY_ATTR { sum = hn::Add(sum, load(x)); });
    const V mean = hn::Div(hn::SumOfLanes(d, sum), hn::Set(d, count));
    // What rounding left in the mean is in the differences' sum; taking it out of their squares'
    // sum and of the results makes up for sums of float where the mean is large.
    V rest = hn::Zero(d), squares = hn::Zero(d);
    ForEachVector(args.size, mean, [&](int64_t, auto load, auto) HWY_ATTR {
      const V difference = hn::Sub(load(x), mean);
      rest = hn::Add(rest, difference);
      squares = hn::MulAdd(difference, difference, squares);
    });
    const V offset = hn::Div(hn::SumOfLanes(d, rest), hn::Set(d, count));
    const float variance =
        hn::GetLane(hn::SumOfLanes(d, squares)) / count - hn::GetLane(offset) * hn::GetLane(offset);
    const float spread = variance + static_cast<float>(args.epsilon);
    if (!(spread > 1e-30F && spread < std::numeric_limits<float>::max())) {
      RowInDouble(args, x, y);
      continue;
    }
    const V inverse = hn::Set(d, 1.0F / std::sqrt(spread));
    ForEachVector(args.size, hn::Zero(d), [&](int64_t, auto load, auto store) HWY_ATTR {
      const V centred = hn::Sub(hn::Sub(load(x), mean), offset);
      const V value = hn::Mul(centred, inverse);
      store(args.bias == nullptr ? hn::Mul(value, load(args.scale))
                                 : hn::MulAdd(value, load(args.scale), load(args.bias)),
            y);
    });
  }
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(NormalizeRowsImpl);

void NormalizeRows(const NormalizeRowsArgs& args) { HWY_DYNAMIC_DISPATCH(NormalizeRowsImpl)(args); }

}  // namespace verdict::cpu
#endif  // HWY_ONCE
