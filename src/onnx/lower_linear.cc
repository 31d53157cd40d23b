#include <algorithm>

#include "onnx/features.h"
#include "onnx/opset_table.h"

// The linear models of ai.onnx.ml become Gemm and what turns its scores into the outputs.

namespace verdict {
namespace {

/// y = x·weights + bias, with one column a score.
struct LinearModel {
  int64_t scores = 0;
  int64_t features = 0;
  std::vector<float> coefficients;  // [scores, features]
  std::vector<float> intercepts;    // [scores], or empty
};

/// scores: 0 where the intercepts tell it.
Result<LinearModel> TakeModel(NodeTranslation& translation, int64_t scores) {
  LinearModel model;
  VERDICT_ASSIGN_OR_RETURN(model.coefficients,
                           translation.TakeOr<std::vector<float>>("coefficients", {}));
  VERDICT_ASSIGN_OR_RETURN(model.intercepts,
                           translation.TakeOr<std::vector<float>>("intercepts", {}));
  const auto num_intercepts = static_cast<int64_t>(model.intercepts.size());
  model.scores = scores;
  const auto num_coefficients = static_cast<int64_t>(model.coefficients.size());
  if (scores < 1 || num_coefficients == 0 || num_coefficients % scores != 0 ||
      (num_intercepts != 0 && num_intercepts != scores)) {
    return translation.Error("has " + std::to_string(num_coefficients) + " coefficients and " +
                             std::to_string(num_intercepts) + " intercepts for " +
                             std::to_string(scores) + " scores");
  }
  model.features = num_coefficients / scores;
  return model;
}

/// The node's scores [N, scores] as a node of their own; the last one writes to `output` if that is
/// set.
Result<ValueId> EmitScores(NodeTranslation& translation, ValueId x, const LinearModel& model,
                           ValueId output = kNoValue) {
  const Dim scores = model.scores;
  const Dim features = model.features;
  auto [weights, data] = Constant::Allocate(DataType::kFloat32, {features, scores});
  float* out = static_cast<float*>(data);
  for (Dim feature = 0; feature < features; ++feature) {
    for (Dim score = 0; score < scores; ++score) {
      *out++ = model.coefficients[static_cast<size_t>(score * features + feature)];
    }
  }
  Node gemm{.op = "Gemm",
            .inputs = {x, translation.AddConstant("coefficients", std::move(weights))}};
  if (!model.intercepts.empty()) {
    gemm.inputs.push_back(translation.AddConstant(
        "intercepts", Constant::Of<float>({scores}, std::span<const float>(model.intercepts))));
  }
  if (output == kNoValue) {
    return translation.EmitValue(std::move(gemm.op), std::move(gemm.inputs));
  }
  gemm.outputs = {output};
  VERDICT_RETURN_IF_ERROR(translation.Emit(std::move(gemm)));
  return output;
}

}  // namespace

Status LowerLinearClassifier(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.Take<int64_t>("multi_class").status());  // says nothing new
  VERDICT_ASSIGN_OR_RETURN(const std::string post_transform,
                           translation.TakeOr<std::string>("post_transform", "NONE"));
  VERDICT_ASSIGN_OR_RETURN(const Constant labels,
                           TakeLabels(translation, "classlabels_ints", "classlabels_strings"));
  const int64_t classes = labels.shape[0];
  // A model for two classes may have one score only, for the second.
  const auto* intercepts =
      translation.node.attributes.contains("intercepts")
          ? std::get_if<std::vector<float>>(&translation.node.attributes.find("intercepts")->second)
          : nullptr;
  const bool one_of_two = classes == 2 && intercepts != nullptr && intercepts->size() == 1;
  VERDICT_ASSIGN_OR_RETURN(const LinearModel model,
                           TakeModel(translation, one_of_two ? 1 : classes));
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, FeatureMatrix(translation, /*keep_double=*/false));
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores, EmitScores(translation, x, model));
  return translation.Emit(
      {.op = "ClassifierOutput",
       .inputs = {scores, translation.AddConstant("labels", labels)},
       .outputs = translation.node.outputs,
       .attributes = {{"post_transform", post_transform}, {"complement", int64_t{one_of_two}}}});
}

Status LowerLinearRegressor(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t targets, translation.TakeOr<int64_t>("targets", 1));
  VERDICT_ASSIGN_OR_RETURN(const std::string post_transform,
                           translation.TakeOr<std::string>("post_transform", "NONE"));
  VERDICT_ASSIGN_OR_RETURN(const LinearModel model, TakeModel(translation, targets));
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, FeatureMatrix(translation, /*keep_double=*/false));
  if (!translation.has_output(0)) return translation.Error("has no output");
  if (post_transform == "NONE") {
    return EmitScores(translation, x, model, translation.node.outputs[0]).status();
  }
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores, EmitScores(translation, x, model));
  return translation.Emit({.op = "PostTransform",
                           .inputs = {scores},
                           .outputs = translation.node.outputs,
                           .attributes = {{"post_transform", post_transform}}});
}

}  // namespace verdict
