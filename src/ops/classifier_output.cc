#include <algorithm>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/post_transform.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"complement", AttributeType::kInt},
                                         {"label_threshold", AttributeType::kFloat},
                                         {"post_transform", AttributeType::kString}};

using LabelTypes = Types<int64_t, std::string_view>;

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, LabelTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "raw scores", 2, 2));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "labels", 1, 1));
  const Shape& scores = context.inputs[0].shape;
  const Dim classes = context.inputs[1].shape[0];
  const std::string_view name = context.attributes().String("post_transform", "NONE");
  const auto kind = PostTransformFromName(name);
  if (!kind.has_value()) {
    return context.Error("unknown post_transform '" + std::string(name) + "'");
  }
  const bool one_of_two = scores[1] == 1 && classes == 2;
  if ((!one_of_two && !MayEqual(scores[1], classes)) || classes == 0) {
    return context.Error(InputText(context, 0, "raw scores") + " and " +
                         InputText(context, 1, "labels") +
                         ": needs a column for each label, or one for two labels");
  }
  if (one_of_two && *kind == PostTransformKind::kProbit) {
    return Unimplemented(Graph::Describe(context.node) +
                         ": PROBIT of one score for two classes gives no second score; export the "
                         "model with two scores or another post_transform");
  }
  context.SetOutput(0, context.inputs[1].dtype, {scores[0]});
  context.SetOutput(1, DataType::kFloat32, {scores[0], classes});
  return OkStatus();
}

/// ONNX Runtime's rules for one score and two classes.
struct BinaryRule {
  float label_threshold;
  bool complement;
  bool logistic;

  size_t Label(float score) const { return score > label_threshold ? 1 : 0; }
  void Scores(float score, float* out) const {
    if (logistic) {
      out[0] = Logistic(-score);
      out[1] = Logistic(score);
    } else {
      out[0] = complement ? 1 - score : -score;
      out[1] = score;
    }
  }
};

size_t ArgMax(std::span<const float> row) {
  size_t best = 0;
  for (size_t i = 1; i < row.size(); ++i) {
    if (row[i] > row[best]) best = i;
  }
  return best;
}

template <typename Label>
void RunTyped(KernelContext& context) {
  const auto attributes = context.attributes();
  const auto kind = *PostTransformFromName(attributes.String("post_transform", "NONE"));
  const auto raw = context.in<float>(0);
  const auto labels = context.in<Label>(1);
  const auto rows = static_cast<size_t>(context.inputs[0].shape[0]);
  const auto columns = static_cast<size_t>(context.inputs[0].shape[1]);
  const bool one_of_two = columns == 1 && labels.size() == 2;
  const BinaryRule binary{attributes.Float("label_threshold", 0.0F),
                          attributes.Int("complement", 0) != 0,
                          kind == PostTransformKind::kLogistic};
  for (size_t row = 0; row < rows; ++row) {
    const auto in = raw.subspan(row * columns, columns);
    if (context.has_output(0)) {
      context.out<Label>(0)[row] = labels[one_of_two ? binary.Label(in[0]) : ArgMax(in)];
    }
    if (!context.has_output(1)) continue;
    const auto out = context.out<float>(1).subspan(row * labels.size(), labels.size());
    if (one_of_two) {
      binary.Scores(in[0], out.data());
    } else {
      std::ranges::copy(in, out.begin());
      ApplyPostTransform(kind, out);
    }
  }
}

Status Run(KernelContext& context) {
  return Dispatch(LabelTypes{}, context.inputs[1].dtype, [&](auto label) {
    RunTyped<decltype(label)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kClassifierOutputOp = {.name = "ClassifierOutput",
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .min_outputs = 1,
                                   .max_outputs = 2,
                                   .attributes = kAttributes,
                                   .infer = Infer,
                                   .run = Run};

}  // namespace verdict
