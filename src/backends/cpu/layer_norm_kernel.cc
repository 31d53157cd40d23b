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

/// Calls body(load, store) for each vector of [0, size): load(p, rest) gives p's floats there, with
/// `rest` in lanes past the end.
template <typename Body>
HWY_INLINE void ForEachVector(int64_t size, Body body) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    body([&](const float* p, V) HWY_ATTR { return hn::LoadU(d, p + i); },
         [&](V v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  if (i == size) return;
  const auto mask = hn::FirstN(d, static_cast<size_t>(size - i));
  body([&](const float* p, V rest)
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

/// `kRows` rows from x on, together, since each waits for its sums.
template <int kRows>
HWY_INLINE void Normalize(const NormalizeRowsArgs& args, const float* x, float* y) {
  const D d;
  const int64_t size = args.size;
  const V zero = hn::Zero(d);
  const auto count = static_cast<float>(size);
  V mean[kRows], offset[kRows], squares[kRows];
  for (int r = 0; r < kRows; ++r) mean[r] = offset[r] = squares[r] = zero;
  ForEachVector(size, [&](auto load, auto) HWY_ATTR {
    for (int r = 0; r < kRows; ++r) mean[r] = hn::Add(mean[r], load(x + r * size, zero));
  });
  for (int r = 0; r < kRows; ++r) {
    mean[r] = hn::Div(hn::SumOfLanes(d, mean[r]), hn::Set(d, count));
  }
  // What rounding left in the mean is in the differences' sum; taking it out of their squares' sum
  // and of the results makes up for sums of float where the mean is large.
  ForEachVector(size, [&](auto load, auto) HWY_ATTR {
    for (int r = 0; r < kRows; ++r) {
      const V difference = hn::Sub(load(x + r * size, mean[r]), mean[r]);
      offset[r] = hn::Add(offset[r], difference);
      squares[r] = hn::MulAdd(difference, difference, squares[r]);
    }
  });
  V inverse[kRows];
  bool fits[kRows];
  for (int r = 0; r < kRows; ++r) {
    const float left = hn::GetLane(hn::SumOfLanes(d, offset[r])) / count;
    const float mean_square = hn::GetLane(hn::SumOfLanes(d, squares[r])) / count;
    const float spread = mean_square - left * left + static_cast<float>(args.epsilon);
    fits[r] = spread > 1e-30F && spread < std::numeric_limits<float>::max();
    offset[r] = hn::Set(d, left);
    inverse[r] = hn::Set(d, 1.0F / std::sqrt(spread));
  }
  ForEachVector(size, [&](auto load, auto store) HWY_ATTR {
    const V scale = load(args.scale, zero);
    const V bias = args.bias == nullptr ? zero : load(args.bias, zero);
    for (int r = 0; r < kRows; ++r) {
      const V centred = hn::Sub(hn::Sub(load(x + r * size, zero), mean[r]), offset[r]);
      store(hn::MulAdd(hn::Mul(centred, inverse[r]), scale, bias), y + r * size);
    }
  });
  for (int r = 0; r < kRows; ++r) {
    if (!fits[r]) RowInDouble(args, x + r * size, y + r * size);
  }
}

void NormalizeRowsImpl(const NormalizeRowsArgs& args) {
  constexpr int kTogether = 4;
  int64_t row = 0;
  for (; row + kTogether <= args.rows; row += kTogether) {
    Normalize<kTogether>(args, args.x + row * args.size, args.y + row * args.size);
  }
  for (; row < args.rows; ++row) {
    Normalize<1>(args, args.x + row * args.size, args.y + row * args.size);
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
