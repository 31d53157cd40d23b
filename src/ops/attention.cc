#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention.h"
#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/gemm_loops.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"is_causal", AttributeType::kInt},
                                         {"kv_num_heads", AttributeType::kInt},
                                         {"mask_as_add", AttributeType::kInt},
                                         {"q_num_heads", AttributeType::kInt},
                                         {"qk_matmul_output_mode", AttributeType::kInt},
                                         {"scale", AttributeType::kFloat},
                                         {"softcap", AttributeType::kFloat},
                                         {"softmax_precision", AttributeType::kInt}};

constexpr size_t kQ = AttentionProblem::kQ, kK = AttentionProblem::kK, kV = AttentionProblem::kV,
                 kMask = AttentionProblem::kMask, kPastKey = kMask + 1;

using MaskTypes = Types<bool, float, double>;

Status CheckNumHeads(const InferContext& context, size_t input, std::string_view name,
                     std::string_view attribute) {
  const Shape& shape = context.inputs[input].shape;
  const int64_t heads = context.attributes().Int(attribute, 0);
  if (shape.rank() == 4 || (heads >= 1 && (IsSymbol(shape[2]) || shape[2] % heads == 0))) {
    return OkStatus();
  }
  return context.Error(InputText(context, input, name) + ", which needs " + std::string(attribute) +
                       " to divide its last extent; it is " + std::to_string(heads));
}

Status Infer(InferContext& context) {
  for (size_t i = kPastKey; i < context.inputs.size(); ++i) {
    if (context.has_input(i)) {
      return Unimplemented(Graph::Describe(context.node) +
                           ": key and value caches are not supported; export without them");
    }
  }
  for (size_t i = 1; i < context.outputs.size(); ++i) {
    if (context.node.outputs[i] != kNoValue) {
      return Unimplemented(Graph::Describe(context.node) +
                           ": only the output Y is supported; export without the others");
    }
  }
  VERDICT_RETURN_IF_ERROR(RequireType(context, kQ, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kQ, kK));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kQ, kV));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kQ, "Q", 3, 4));
  const Shape& q_shape = context.inputs[kQ].shape;
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kK, "K", q_shape.rank(), q_shape.rank()));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kV, "V", q_shape.rank(), q_shape.rank()));
  VERDICT_RETURN_IF_ERROR(CheckNumHeads(context, kQ, "Q", "q_num_heads"));
  VERDICT_RETURN_IF_ERROR(CheckNumHeads(context, kK, "K", "kv_num_heads"));
  VERDICT_RETURN_IF_ERROR(CheckNumHeads(context, kV, "V", "kv_num_heads"));
  const auto attributes = context.attributes();
  const AttentionHeads q = AttentionHeadsOf(q_shape, attributes.Int("q_num_heads", 1));
  const AttentionHeads k =
      AttentionHeadsOf(context.inputs[kK].shape, attributes.Int("kv_num_heads", 1));
  const AttentionHeads v =
      AttentionHeadsOf(context.inputs[kV].shape, attributes.Int("kv_num_heads", 1));
  const bool heads_fit =
      IsSymbol(q.heads) || IsSymbol(k.heads) || (k.heads != 0 && q.heads % k.heads == 0);
  if (!MayEqual(q.batch, k.batch) || !MayEqual(k.batch, v.batch) || !MayEqual(q.size, k.size) ||
      !MayEqual(k.length, v.length) || !MayEqual(k.heads, v.heads) || !heads_fit) {
    return context.Error(InputText(context, kQ, "Q") + ", " + InputText(context, kK, "K") +
                         " and " + InputText(context, kV, "V") +
                         ": they need one batch, Q and K one head size, K and V one length and "
                         "number of heads that divides Q's");
  }
  if (context.has_input(kMask)) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, kMask, MaskTypes{}));
    VERDICT_RETURN_IF_ERROR(RequireRank(context, kMask, "attn_mask", 1, 4));
    const Shape& mask = context.inputs[kMask].shape;
    const bool mask_as_add = attributes.Int("mask_as_add", 0) != 0;
    const Dim keys[] = {q.batch, q.heads, q.length, k.length};
    for (int i = 1; i <= mask.rank(); ++i) {
      const Dim have = mask[mask.rank() - i];
      const Dim want = keys[4 - i];
      const bool fits = i == 1 && !mask_as_add
                            ? have <= want || IsSymbol(want)  // keys past its end are hidden
                            : have == 1 || MayEqual(have, want);
      if (!fits) {
        return context.Error(InputText(context, kMask, "attn_mask") +
                             ", which does not broadcast to " + ShapeText(context, Shape(keys)));
      }
    }
  }
  Shape output = q_shape;
  if (q_shape.rank() == 4) {
    output[3] = v.size;
  } else if (IsSymbol(v.size)) {
    output[2] = context.UnknownDim();
  } else if (__builtin_mul_overflow(q.heads, v.size, &output[2])) {
    return context.Error("the output's last extent is too large");
  }
  context.SetOutput(kQ, context.inputs[kQ].dtype, output);
  return OkStatus();
}

/// The mask as a function of (sample, head, query, key): what to add to a score.
template <typename T>
class Mask {
 public:
  Mask(const KernelContext& context, const AttentionProblem& problem) {
    if (!context.has_input(kMask)) return;
    mask_ = context.inputs[kMask];
    keys_ = problem.mask_as_add ? problem.k.length : mask_.shape[mask_.shape.rank() - 1];
    strides_ = AttentionMaskStrides(mask_.shape);
  }

  T At(int64_t sample, int64_t head, int64_t query, int64_t key) const {
    if (mask_.data == nullptr) return T(0);
    if (key >= keys_) return -std::numeric_limits<T>::infinity();
    const int64_t i =
        sample * strides_[0] + head * strides_[1] + query * strides_[2] + key * strides_[3];
    switch (mask_.dtype) {
      case DataType::kBool:
        return static_cast<const bool*>(mask_.data)[i] ? T(0) : -std::numeric_limits<T>::infinity();
      case DataType::kFloat64:
        return static_cast<T>(static_cast<const double*>(mask_.data)[i]);
      default:
        return static_cast<T>(static_cast<const float*>(mask_.data)[i]);
    }
  }

 private:
  TensorView mask_;
  int64_t keys_ = 0;
  std::array<int64_t, 4> strides_{};
};

/// Softmax in place; a row of which everything is hidden becomes `hidden`.
template <typename T>
void Softmax(std::span<T> scores, T hidden) {
  T max = -std::numeric_limits<T>::infinity();
  for (T score : scores) max = std::max(max, score);
  if (max == -std::numeric_limits<T>::infinity()) {
    std::ranges::fill(scores, hidden);
    return;
  }
  T sum = 0;
  for (T& score : scores) sum += score = std::exp(score - max);
  for (T& score : scores) score /= sum;
}

template <typename T>
void RunTyped(KernelContext& context) {
  const AttentionProblem problem = AttentionProblemOf(context.node, context.inputs);
  const auto& [q, k, v, y, exact_scale, causal, mask_as_add] = problem;
  const T scale = static_cast<T>(exact_scale);
  const T softcap = static_cast<T>(context.attributes().Float("softcap", 0));
  const T all_hidden = mask_as_add ? std::numeric_limits<T>::quiet_NaN() : T(0);
  const Mask<T> mask(context, problem);
  const auto scores = context.Scratch<T>(static_cast<size_t>(k.length));
  const T* q_data = context.in<T>(kQ).data();
  const T* k_data = context.in<T>(kK).data();
  const T* v_data = context.in<T>(kV).data();
  for (int64_t sample = 0; sample < q.batch; ++sample) {
    for (int64_t head = 0; head < q.heads; ++head) {
      const int64_t kv_head = head / (q.heads / k.heads);
      for (int64_t query = 0; query < q.length; ++query) {
        const T* q_row = q_data + q.Offset(sample, head, query);
        for (int64_t key = 0; key < k.length; ++key) {
          T score = scale * Dot(q_row, k_data + k.Offset(sample, kv_head, key), q.size);
          if (softcap > T(0)) score = softcap * std::tanh(score / softcap);
          score += mask.At(sample, head, query, key);
          const bool hidden = causal && key > query;
          scores[static_cast<size_t>(key)] = hidden ? -std::numeric_limits<T>::infinity() : score;
        }
        Softmax(scores, all_hidden);
        T* out = context.out<T>(0).data() + y.Offset(sample, head, query);
        std::fill_n(out, v.size, T(0));
        for (int64_t key = 0; key < k.length; ++key) {
          AddProduct(&scores[static_cast<size_t>(key)], 1, 1,
                     v_data + v.Offset(sample, kv_head, key), v.size, out, v.size, 1, 1, v.size);
        }
      }
    }
  }
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

/// One row of scores.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& k = inputs[kK].shape;
  return static_cast<size_t>(k[k.rank() == 4 ? 2 : 1]) * ElementSize(inputs[kK].dtype);
}

}  // namespace

AttentionHeads AttentionHeadsOf(const Shape& shape, int64_t num_heads) {
  if (shape.rank() == 4) return {shape[0], shape[1], shape[2], shape[3], false};
  const Dim size = IsSymbol(shape[2]) ? shape[2] : shape[2] / num_heads;
  return {shape[0], num_heads, shape[1], size, true};
}

AttentionProblem AttentionProblemOf(const Node& node, std::span<const TensorView> inputs) {
  const AttributeReader attributes(node);
  const int64_t kv_heads = attributes.Int("kv_num_heads", 1);
  AttentionProblem problem;
  problem.q = AttentionHeadsOf(inputs[kQ].shape, attributes.Int("q_num_heads", 1));
  problem.k = AttentionHeadsOf(inputs[kK].shape, kv_heads);
  problem.v = AttentionHeadsOf(inputs[kV].shape, kv_heads);
  problem.y = problem.q;
  problem.y.size = problem.v.size;
  problem.scale = attributes.Has("scale") ? static_cast<double>(attributes.Float("scale", 0))
                                          : 1 / std::sqrt(static_cast<double>(problem.q.size));
  problem.causal = attributes.Int("is_causal", 0) != 0;
  problem.mask_as_add = attributes.Int("mask_as_add", 0) != 0;
  return problem;
}

std::array<int64_t, 4> AttentionMaskStrides(const Shape& mask) {
  std::array<int64_t, 4> strides{};
  int64_t stride = 1;
  for (int i = 1; i <= mask.rank(); ++i) {
    const Dim extent = mask[mask.rank() - i];
    strides[static_cast<size_t>(4 - i)] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
  return strides;
}

/// Without key and value caches; attn_mask may have fewer keys than K, the rest being masked out.
/// With mask_as_add, which is ours, it is what Add and Softmax made of it before a pass fused them.
const OpDef kAttentionOp = {.name = "Attention",
                            .min_inputs = 3,
                            .max_inputs = 7,
                            .min_outputs = 1,
                            .max_outputs = 4,
                            .attributes = kAttributes,
                            .infer = Infer,
                            .run = Run,
                            .scratch_bytes = ScratchBytes};

}  // namespace verdict
