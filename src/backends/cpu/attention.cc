#include "ops/attention.h"

#include <algorithm>
#include <array>
#include <limits>

#include "backends/cpu/gemm.h"
#include "backends/cpu/softmax.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

/// Queries whose scores are computed together: as many as keep K, V and them in the first-level
/// cache for 128 keys; a multiple of a product's rows.
constexpr int64_t kQueries = 24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Status Accepts(const Graph& graph, const Node& node) {
  if (graph.value(node.inputs[0]).dtype != DataType::kFloat32) {
    return Unimplemented("not of float32");
  }
  if (AttributeReader(node).Float("softcap", 0) > 0) return Unimplemented("with a softcap");
  const ValueId mask = node.inputs.size() > 3 ? node.inputs[3] : kNoValue;
  if (mask != kNoValue && graph.value(mask).dtype == DataType::kFloat64) {
    return Unimplemented("the mask is of float64");
  }
  return OkStatus();
}

/// How the scratch is divided: floats from its start.
struct Areas {
  size_t keys, values, scores, mask, end;
};

Areas AreasOf(const AttentionProblem& problem) {
  const auto aligned = [](size_t floats) { return (floats + 15) / 16 * 16; };
  const auto keys = static_cast<size_t>(problem.k.length);
  Areas areas{};
  areas.values = areas.keys + aligned(PackedFloats(problem.q.size, problem.k.length));
  areas.scores = areas.values + aligned(PackedFloats(problem.k.length, problem.v.size));
  areas.mask = areas.scores + aligned(keys) * size_t{kQueries};
  areas.end = areas.mask + aligned(keys) * size_t{kQueries};
  return areas;
}

size_t ScratchBytes(const Node& node, std::span<const TensorView> inputs,
                    std::span<const TensorView>) {
  const AttentionProblem problem = AttentionProblemOf(node, inputs);
  // Tensors without elements may have extents whose products are no number.
  constexpr Dim kMost = Dim{1} << 28;
  if (std::max({problem.k.length, problem.q.size, problem.v.size}) > kMost) return kMost * kMost;
  return AreasOf(problem).end * sizeof(float);
}

/// The mask's rows as floats to add.
class MaskRows {
 public:
  /// area: room for kQueries rows, `row` floats apart.
  MaskRows(const KernelContext& context, const AttentionProblem& problem, float* area, int64_t row)
      : area_(area), row_(row) {
    if (!context.has_input(AttentionProblem::kMask)) return;
    mask_ = context.inputs[AttentionProblem::kMask];
    strides_ = AttentionMaskStrides(mask_.shape);
    keys_ = problem.k.length;
    given_ = problem.mask_as_add ? keys_ : mask_.shape[mask_.shape.rank() - 1];
  }

  /// Sets the mask of `args.rows` queries from `first` on; it stays valid until the next call.
  void Set(int64_t sample, int64_t head, int64_t first, SoftmaxArgs& args) {
    if (mask_.data == nullptr) return;
    const int64_t at = sample * strides_[0] + head * strides_[1] + first * strides_[2];
    const bool is_shared = strides_[2] == 0;
    if (mask_.dtype == DataType::kFloat32 && strides_[3] == 1 && given_ == keys_) {
      args.mask = static_cast<const float*>(mask_.data) + at;
      args.mask_stride = strides_[2];
      return;
    }
    args.mask = area_;
    args.mask_stride = is_shared ? 0 : row_;
    if (is_shared && at == at_) return;  // as for a sample's next queries and heads
    at_ = at;
    for (int64_t row = 0; row < (is_shared ? 1 : args.rows); ++row) {
      Write(at + row * strides_[2], area_ + row * row_);
    }
  }

 private:
  void Write(int64_t at, float* to) const {
    for (int64_t key = 0; key < given_; ++key) {
      const int64_t i = at + key * strides_[3];
      if (mask_.dtype == DataType::kFloat32) {
        to[key] = static_cast<const float*>(mask_.data)[i];
      } else {
        to[key] = static_cast<const bool*>(mask_.data)[i] ? 0.0F : -kInfinity;
      }
    }
    std::fill(to + given_, to + keys_, -kInfinity);
  }

  float* area_;
  int64_t row_;
  TensorView mask_;
  std::array<int64_t, 4> strides_{};
  int64_t keys_ = 0;
  int64_t given_ = 0;  // keys that the mask speaks of
  int64_t at_ = -1;    // of the row in `area_` that all queries share
};

struct Scratch {
  float *keys, *values, *scores;
  int64_t row;  // floats from one query's scores to the next
};

/// One head of one sample; `scratch` holds its packed keys and values.
void RunHead(const KernelContext& context, const AttentionProblem& problem, const Scratch& scratch,
             MaskRows& mask, int64_t sample, int64_t head) {
  const AttentionHeads& q = problem.q;
  const int64_t keys = problem.k.length;
  const float all_hidden = problem.mask_as_add ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
  for (int64_t first = 0; first < q.length; first += kQueries) {
    const int64_t rows = std::min(kQueries, q.length - first);
    Gemm({.m = rows,
          .k = q.size,
          .n = keys,
          .a = context.in<float>(AttentionProblem::kQ).data() + q.Offset(sample, head, first),
          .lda = q.RowStride(),
          .packed = scratch.keys,
          .c = scratch.scores,
          .ldc = scratch.row});
    SoftmaxArgs softmax{.rows = rows,
                        .count = keys,
                        .stride = scratch.row,
                        .scores = scratch.scores,
                        .scale = static_cast<float>(problem.scale),
                        .seen_by_first = problem.causal ? first + 1 : keys};
    mask.Set(sample, head, first, softmax);
    std::array<float, kQueries> factors{};
    SoftmaxNumerators(softmax, factors.data());
    for (float& factor : factors) factor = factor == 0.0F ? all_hidden : 1.0F / factor;
    float* y = context.out<float>(0).data() + problem.y.Offset(sample, head, first);
    Gemm({.m = rows,
          .k = keys,
          .n = problem.v.size,
          .a = scratch.scores,
          .lda = scratch.row,
          .packed = scratch.values,
          .c = y,
          .ldc = problem.y.RowStride()});
    ScaleRows(y, rows, problem.v.size, problem.y.RowStride(), factors.data());
  }
}

Status Run(KernelContext& context) {
  const AttentionProblem problem = AttentionProblemOf(context.node, context.inputs);
  const auto& [q, k, v, y, scale, causal, mask_as_add] = problem;
  const Areas areas = AreasOf(problem);
  float* floats = context.Scratch<float>(areas.end).data();
  const auto row = static_cast<int64_t>((areas.end - areas.mask) / kQueries);
  const Scratch scratch{floats + areas.keys, floats + areas.values, floats + areas.scores, row};
  MaskRows mask(context, problem, floats + areas.mask, row);
  const float* keys = context.in<float>(AttentionProblem::kK).data();
  const float* values = context.in<float>(AttentionProblem::kV).data();
  for (int64_t sample = 0; sample < q.batch; ++sample) {
    for (int64_t kv_head = 0; kv_head < k.heads; ++kv_head) {
      Pack(keys + k.Offset(sample, kv_head, 0), 1, k.RowStride(), q.size, k.length, scratch.keys);
      Pack(values + v.Offset(sample, kv_head, 0), v.RowStride(), 1, k.length, v.size,
           scratch.values);
      const int64_t shared = q.heads / k.heads;
      for (int64_t i = 0; i < shared; ++i) {
        RunHead(context, problem, scratch, mask, sample, kv_head * shared + i);
      }
    }
  }
  return OkStatus();
}

}  // namespace

const Tactic kAttention = {.id = "cpu/attention",
                           .op = "Attention",
                           .accepts = Accepts,
                           .run = Run,
                           .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
