// Compiled once per instruction set by Highway's foreach_target; HWY_DYNAMIC_DISPATCH picks one at
// run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm.cc"
// The baseline is one lane on every compiler: EMU128's masked loads read whole vectors.
#define HWY_BROKEN_EMU128 1
// Levels that isa.h knows; the variants between them bring nothing to float kernels.
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
#include "backends/cpu/gemm.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace verdict::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr int kPanelVectors = 4;
constexpr int64_t kPanelColumns = kLanes * kPanelVectors;
// 24 accumulators of AVX-512's 32 registers; 12 of AVX2's 16 are left by 3 rows.
constexpr int kMaxRows = HWY_TARGET == HWY_AVX3 ? 6 : 3;

constexpr int64_t kBlock = 128;
constexpr int64_t kPrefetchVectors = 32;

int64_t PadTo(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int64_t PaddedColumnsImpl(int64_t n) { return PadTo(n, kLanes); }

size_t PackedFloatsImpl(int64_t k, int64_t n) {
  return static_cast<size_t>(n == 1 ? k : k * PadTo(n, kLanes));
}

HWY_INLINE void CopyRow(const float* from, int64_t count, float* to) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  for (; i < count; ++i) to[i] = from[i];
}

/// to[p * width + j] = from[j * stride + p] for p < k, j < n: attention packs its keys like this at
/// every run.
void PackTurned(const float* from, int64_t stride, int64_t k, int64_t n, float* to, int64_t width) {
  int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  // Four by four.
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> pairs;
  using Quad = hn::Vec<decltype(d)>;
  for (; j + 4 <= n; j += 4) {
    const float* rows = from + j * stride;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      const Quad a = hn::LoadU(d, rows + p), b = hn::LoadU(d, rows + stride + p);
      const Quad c = hn::LoadU(d, rows + 2 * stride + p), e = hn::LoadU(d, rows + 3 * stride + p);
      const auto ab = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
      const auto ce = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
      const auto ab_upper = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
      const auto ce_upper = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
      float* out = to + p * width + j;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce)), d, out + width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab_upper, ce_upper)), d,
                 out + 2 * width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab_upper, ce_upper)), d,
                 out + 3 * width);
    }
    for (; p < k; ++p) {
      for (int64_t i = 0; i < 4; ++i) to[p * width + j + i] = rows[i * stride + p];
    }
  }
#endif
  for (; j < n; ++j) {
    for (int64_t p = 0; p < k; ++p) to[p * width + j] = from[j * stride + p];
  }
}

void PackImpl(const float* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
              float* packed) {
  const int64_t padded = n == 1 ? 1 : PadTo(n, kLanes);
  for (int64_t first = 0; first < padded; first += kPanelColumns) {
    const int64_t width = std::min(kPanelColumns, padded - first);
    const int64_t filled = std::min(width, n - first);
    const float* from = b + first * column_stride;
    if (column_stride == 1) {
      for (int64_t p = 0; p < k; ++p) CopyRow(from + p * row_stride, filled, packed + p * width);
    } else if (row_stride == 1) {
      PackTurned(from, column_stride, k, filled, packed, width);
    } else {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t j = 0; j < filled; ++j) {
          packed[p * width + j] = from[p * row_stride + j * column_stride];
        }
      }
    }
    if (filled < width) {
      for (int64_t p = 0; p < k; ++p) {
        std::fill_n(packed + p * width + filled, width - filled, 0.0F);
      }
    }
    packed += k * width;
  }
}

// Highway's Exp and Tanh promise nothing outside a range, nor for NaN, which must come out as it
// went in.

HWY_INLINE V SigmoidV(D d, V x) {
  const V one = hn::Set(d, 1.0F);
  const V exp =
      hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 100.0F)));  // e^100 is infinite: 1 / inf = 0
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Div(one, hn::Add(one, exp)));
}

HWY_INLINE V TanhV(D d, V x) {
  const V limit = hn::Set(d, 10.0F);  // tanh is 1 from 9.02 on
  const V inside = hn::Max(hn::Neg(limit), hn::Min(x, limit));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, inside));
}

/// x * P(Z <= x) for a standard normal Z, absolute error below 1e-6 * (1 + |x|): P is 1/2 plus an
/// odd rational function of degrees 11 and 10, fitted by reweighted least squares on [0, 5.66]
/// (relative error of the fit 2.5e-8). Beyond, P is 0 or 1 to 8e-9. NaN and infinities as by the
/// scalar function.
HWY_INLINE V GeluV(D d, V x) {
  const V limit = hn::Set(d, 5.66F);
  const V inside = hn::Max(hn::Neg(limit), hn::Min(x, limit));
  const V t = hn::Mul(inside, inside);
  V p = hn::Set(d, 2.1932165e-08F);
  V q = hn::Set(d, 1.1688286e-06F);
  p = hn::MulAdd(p, t, hn::Set(d, 6.2881118e-06F));
  q = hn::MulAdd(q, t, hn::Set(d, 7.4142226e-05F));
  p = hn::MulAdd(p, t, hn::Set(d, 1.7177609e-04F));
  q = hn::MulAdd(q, t, hn::Set(d, 1.9017945e-03F));
  p = hn::MulAdd(p, t, hn::Set(d, 4.6945144e-03F));
  q = hn::MulAdd(q, t, hn::Set(d, 2.8846662e-02F));
  p = hn::MulAdd(p, t, hn::Set(d, 3.4230541e-02F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.25246951F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.39894226F));
  q = hn::MulAdd(q, t, hn::Set(d, 1.0F));
  const V share = hn::Add(hn::Set(d, 0.5F), hn::Div(hn::Mul(p, inside), q));
  const V below = hn::IfThenZeroElse(hn::Lt(x, hn::Neg(limit)), share);
  return hn::Mul(x, hn::IfThenElse(hn::Gt(x, limit), hn::Set(d, 1.0F), below));
}

/// True for what ActivateV computes; the rest is applied afterwards by the scalar functions.
bool IsVectorised(ActivationKind kind) {
  return kind == ActivationKind::kNone || kind == ActivationKind::kRelu ||
         kind == ActivationKind::kGelu || kind == ActivationKind::kLeakyRelu ||
         kind == ActivationKind::kSigmoid || kind == ActivationKind::kTanh ||
         kind == ActivationKind::kSilu;
}

HWY_INLINE V ActivateV(D d, V x, const Activation& activation) {
  const V zero = hn::Zero(d);
  switch (activation.kind) {
    case ActivationKind::kRelu:
      // Not Max: NaN must stay NaN.
      return hn::IfThenElse(hn::Lt(x, zero), zero, x);
    case ActivationKind::kGelu:
      return GeluV(d, x);
    case ActivationKind::kLeakyRelu:
      return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(hn::Set(d, activation.alpha), x), x);
    case ActivationKind::kSigmoid:
      return SigmoidV(d, x);
    case ActivationKind::kTanh:
      return TanhV(d, x);
    case ActivationKind::kSilu:
      return hn::Mul(x, SigmoidV(d, x));
    default:
      return x;
  }
}

// The first `count` lanes. AVX2 and AVX-512 touch no memory behind a masked-out lane; the baseline
// has one lane, and so nothing partial. (SSE4 would read whole vectors: another reason to leave it
// out above.)

HWY_INLINE V LoadPartial(D d, const float* from, int64_t count) {
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
}

HWY_INLINE void StorePartial(D d, V value, float* to, int64_t count) {
  hn::BlendedStore(value, hn::FirstN(d, static_cast<size_t>(count)), d, to);
}

/// sums += `count` columns of a times as many rows of the panel, of which `panel` goes past the
/// last.
template <int kRows, int kVectors>
HWY_INLINE void AddProducts(const float* a, int64_t lda, int64_t count, const float*& panel,
                            V (&sums)[kRows][kVectors]) {
  const D d;
  for (int64_t p = 0; p < count; ++p) {
    V row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, panel + v * kLanes);
    if constexpr (kRows == 1) {
      // A single row reads weights as fast as the second-level cache gives them; ahead of the
      // hardware's own guess that took 13 to 20 % less time (R6, R4b at batch 1).
      for (int v = 0; v < kVectors; ++v) hwy::Prefetch(panel + (kPrefetchVectors + v) * kLanes);
    }
    panel += kVectors * kLanes;
    for (int r = 0; r < kRows; ++r) {
      const V factor = hn::Set(d, a[r * lda + p]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(factor, row[v], sums[r][v]);
    }
  }
}

/// `kRows` rows of one panel that is `kVectors` vectors wide, of which the last `columns` counts
/// may be partial.
template <int kRows, int kVectors>
HWY_INLINE void Tile(const GemmArgs& args, const float* a, const float* panel, const float* bias,
                     float* c, int64_t columns) {
  const D d;
  V sums[kRows][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - v * kLanes;
    for (int r = 0; r < kRows; ++r) {
      if (args.accumulate) {
        const float* from = c + r * args.ldc + v * kLanes;
        sums[r][v] = left >= kLanes ? hn::LoadU(d, from) : LoadPartial(d, from, left);
      } else {
        sums[r][v] = bias != nullptr ? hn::LoadU(d, bias + v * kLanes) : hn::Zero(d);
      }
    }
  }
  // Sums of about kBlock products each, then the sum of those: rounding grows with the square root
  // of k / kBlock + kBlock rather than of k. Blocks are of equal length, so that none has a few
  // products only.
  const int64_t blocks = std::max<int64_t>((args.k + kBlock / 2) / kBlock, 1);
  const int64_t length = (args.k + blocks - 1) / blocks;
  AddProducts(a, args.lda, std::min(length, args.k), panel, sums);
  for (int64_t begin = length; begin < args.k; begin += length) {
    V block[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) block[r][v] = hn::Zero(d);
    }
    AddProducts(a + begin, args.lda, std::min(length, args.k - begin), panel, block);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Add(sums[r][v], block[r][v]);
    }
  }
  if (args.activation.kind == ActivationKind::kNone && columns >= kVectors * kLanes) {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, c + r * args.ldc + v * kLanes);
    }
    return;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t left = columns - v * kLanes;
      const V y = ActivateV(d, sums[r][v], args.activation);
      float* to = c + r * args.ldc + v * kLanes;
      if (left >= kLanes) {
        hn::StoreU(y, d, to);
      } else {
        StorePartial(d, y, to, left);
      }
    }
  }
}

template <int kVectors, int kRows = kMaxRows>
void Panel(const GemmArgs& args, const float* panel, int64_t first, int64_t columns,
           int64_t row = 0) {
  const float* bias = args.bias == nullptr ? nullptr : args.bias + first;
  for (; row + kRows <= args.m; row += kRows) {
    Tile<kRows, kVectors>(args, args.a + row * args.lda, panel, bias,
                          args.c + row * args.ldc + first, columns);
  }
  if constexpr (kRows > 1) {
    if (row < args.m) Panel<kVectors, kRows - 1>(args, panel, first, columns, row);
  }
}

/// One output column: a dot product per row.
void Column(const GemmArgs& args) {
  const D d;
  const int64_t whole = args.k / kLanes * kLanes;
  for (int64_t row = 0; row < args.m; ++row) {
    const float* a = args.a + row * args.lda;
    V sum = hn::Zero(d);
    int64_t p = 0;
    for (; p < whole; p += kLanes) {
      sum = hn::MulAdd(hn::LoadU(d, a + p), hn::LoadU(d, args.packed + p), sum);
    }
    if (p < args.k) {
      sum = hn::MulAdd(LoadPartial(d, a + p, args.k - p),
                       LoadPartial(d, args.packed + p, args.k - p), sum);
    }
    float* c = args.c + row * args.ldc;
    float start = args.accumulate ? *c : 0.0F;
    if (!args.accumulate && args.bias != nullptr) start = args.bias[0];
    const V total = hn::Add(hn::SumOfLanes(d, sum), hn::Set(d, start));
    *c = hn::GetLane(ActivateV(d, total, args.activation));
  }
}

void GemmImpl(const GemmArgs& args) {
  if (args.n == 1) {
    Column(args);
  } else {
    const float* panel = args.packed;
    for (int64_t first = 0; first < args.n; first += kPanelColumns) {
      const int64_t columns = std::min(kPanelColumns, args.n - first);
      const int64_t vectors = (columns + kLanes - 1) / kLanes;
      switch (vectors) {
        case 1:
          Panel<1>(args, panel, first, columns);
          break;
        case 2:
          Panel<2>(args, panel, first, columns);
          break;
        case 3:
          Panel<3>(args, panel, first, columns);
          break;
        default:
          Panel<4>(args, panel, first, columns);
          break;
      }
      panel += args.k * vectors * kLanes;
    }
  }
  if (IsVectorised(args.activation.kind)) return;
  for (int64_t row = 0; row < args.m; ++row) {
    Apply(args.activation, std::span<float>(args.c + row * args.ldc, static_cast<size_t>(args.n)));
  }
}

/// Calls body(index, load, store) for each vector of [0, count), the last one partial.
template <typename Body>
HWY_INLINE void ForEachVector(int64_t count, Body body) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    body(
        i, [&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); },
        [&](V v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  if (i < count) {
    body(
        i, [&](const float* p) HWY_ATTR { return LoadPartial(d, p + i, count - i); },
        [&](V v, float* p) HWY_ATTR { StorePartial(d, v, p + i, count - i); });
  }
}

void ActivateImpl(const Activation& activation, std::span<float> values) {
  if (activation.kind == ActivationKind::kNone) return;
  if (!IsVectorised(activation.kind)) return Apply(activation, values);
  const D d;
  ForEachVector(static_cast<int64_t>(values.size()), [&](int64_t, auto load, auto store) HWY_ATTR {
    store(ActivateV(d, load(values.data()), activation), values.data());
  });
}

/// A value as p / q with q >= 1, so that a cell's divisions can be shared and overlap.
struct Ratio {
  V p, q;
};

/// tanh(x), relative error below 4e-7: an odd rational function of degrees 9 and 8, fitted by
/// reweighted least squares on [0, 9] (relative error of the fit 2.1e-8; tanh is 1 from there on).
/// 1 <= q < 417. NaN stays NaN.
HWY_INLINE Ratio TanhRatio(D d, V x) {
  const V limit = hn::Set(d, 9.0F);
  const V inside = hn::Max(hn::Neg(limit), hn::Min(x, limit));
  const V t = hn::Mul(inside, inside);
  V p = hn::Set(d, 1.3354724e-08F);
  V q = hn::Set(d, 7.7765856e-07F);
  p = hn::MulAdd(p, t, hn::Set(d, 2.0609132e-05F));
  q = hn::MulAdd(q, t, hn::Set(d, 3.28564e-04F));
  p = hn::MulAdd(p, t, hn::Set(d, 3.4955915e-03F));
  q = hn::MulAdd(q, t, hn::Set(d, 2.5876995e-02F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.13381028F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.46714345F));
  p = hn::MulAdd(p, t, hn::Set(d, 1.0F));
  q = hn::MulAdd(q, t, hn::Set(d, 1.0F));
  // Min and Max may drop a NaN; `x` brings it back.
  return {hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(p, inside)), q};
}

/// sigmoid(x) = (1 + tanh(x / 2)) / 2, absolute error below 4e-7. 2 <= q < 834.
HWY_INLINE Ratio SigmoidRatio(D d, V x) {
  const Ratio tanh = TanhRatio(d, hn::Mul(x, hn::Set(d, 0.5F)));
  return {hn::Add(tanh.q, tanh.p), hn::Add(tanh.q, tanh.q)};
}

HWY_INLINE V Divide(const Ratio& ratio) { return hn::Div(ratio.p, ratio.q); }

HWY_INLINE Ratio Product(const Ratio& a, const Ratio& b) {
  return {hn::Mul(a.p, b.p), hn::Mul(a.q, b.q)};
}

void LstmCellImpl(const float* gates, int64_t hidden, float* cell, float* h) {
  const D d;
  ForEachVector(hidden, [&](int64_t, auto load, auto store) HWY_ATTR {
    const Ratio output = SigmoidRatio(d, load(gates + hidden));
    // A cell adds up over many steps, and may be large: the gates that lead into it must be right
    // relative to themselves, the nearly shut ones too.
    const V input = SigmoidV(d, load(gates));
    const V forget = SigmoidV(d, load(gates + 2 * hidden));
    const Ratio candidate = TanhRatio(d, load(gates + 3 * hidden));
    const V next = hn::MulAdd(forget, load(cell), hn::Mul(input, Divide(candidate)));
    store(next, cell);
    store(Divide(Product(output, TanhRatio(d, next))), h);
  });
}

void GruCellImpl(const float* x_gates, const float* h_gates, int64_t hidden, const float* h_old,
                 float* h_new) {
  const D d;
  ForEachVector(hidden, [&](int64_t, auto load, auto store) HWY_ATTR {
    // As an LSTM's gates: the first state is the caller's.
    const V update = SigmoidV(d, hn::Add(load(x_gates), load(h_gates)));
    const V reset =
        Divide(SigmoidRatio(d, hn::Add(load(x_gates + hidden), load(h_gates + hidden))));
    const V candidate = Divide(
        TanhRatio(d, hn::MulAdd(reset, load(h_gates + 2 * hidden), load(x_gates + 2 * hidden))));
    // (1 - z) * candidate + z * h
    const V old = load(h_old);
    store(hn::MulAdd(update, hn::Sub(old, candidate), candidate), h_new);
  });
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(PaddedColumnsImpl);
HWY_EXPORT(PackedFloatsImpl);
HWY_EXPORT(PackImpl);
HWY_EXPORT(GemmImpl);
HWY_EXPORT(ActivateImpl);
HWY_EXPORT(LstmCellImpl);
HWY_EXPORT(GruCellImpl);

int64_t PaddedColumns(int64_t n) { return HWY_DYNAMIC_DISPATCH(PaddedColumnsImpl)(n); }

size_t PackedFloats(int64_t k, int64_t n) { return HWY_DYNAMIC_DISPATCH(PackedFloatsImpl)(k, n); }

void Pack(const float* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
          float* packed) {
  HWY_DYNAMIC_DISPATCH(PackImpl)(b, row_stride, column_stride, k, n, packed);
}

void Gemm(const GemmArgs& args) { HWY_DYNAMIC_DISPATCH(GemmImpl)(args); }

void Activate(const Activation& activation, std::span<float> values) {
  HWY_DYNAMIC_DISPATCH(ActivateImpl)(activation, values);
}

void LstmCell(const float* gates, int64_t hidden, float* cell, float* h) {
  HWY_DYNAMIC_DISPATCH(LstmCellImpl)(gates, hidden, cell, h);
}

void GruCell(const float* x_gates, const float* h_gates, int64_t hidden, const float* h_old,
             float* h_new) {
  HWY_DYNAMIC_DISPATCH(GruCellImpl)(x_gates, h_gates, hidden, h_old, h_new);
}

}  // namespace verdict::cpu
#endif  // HWY_ONCE
