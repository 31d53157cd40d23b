#include "onnx/features.h"
#include "onnx/opset_table.h"
#include "onnx/tree_table.h"

namespace verdict {
namespace {

/// ONNX Runtime's rule for two classes where all leaves vote for one of them: the label follows
/// that one score. Without negative weights the score is a probability and the bar is one half.
Attributes BinaryRule(const TreeTable& table, const std::string& post_transform) {
  const bool is_probability = !table.has_negative_weight;
  return {{"post_transform", post_transform},
          {"label_threshold", is_probability ? 0.5f : 0.0f},
          {"complement", int64_t{is_probability}}};
}

/// Leaves vote for the first class only (as converters write it), which stands for the second: one
/// score.
Status EmitOneScore(NodeTranslation& translation, ValueId x, const TreeTable& table, ValueId labels,
                    const std::string& post_transform) {
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores,
                           EmitTrees(translation, x, table, 1, table.base_values.values, "SUM"));
  return translation.Emit({.op = "ClassifierOutput",
                           .inputs = {scores, labels},
                           .outputs = translation.node.outputs,
                           .attributes = BinaryRule(table, post_transform)});
}

/// Leaves vote for the second class only: two scores, the first of which is 0, and a label that
/// follows the second alone.
Status EmitSecondScore(NodeTranslation& translation, ValueId x, const TreeTable& table,
                       ValueId labels, const std::string& post_transform) {
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores, EmitTrees(translation, x, table, 2, {}, "SUM"));
  if (translation.has_output(0)) {
    VERDICT_ASSIGN_OR_RETURN(
        const ValueId second,
        translation.EmitValue("Gather", {scores, translation.AddInts("second", {1})},
                              {{"axis", int64_t{1}}}));
    VERDICT_RETURN_IF_ERROR(translation.Emit({.op = "ClassifierOutput",
                                              .inputs = {second, labels},
                                              .outputs = {translation.node.outputs[0]},
                                              .attributes = BinaryRule(table, "NONE")}));
  }
  if (!translation.has_output(1)) return OkStatus();
  return translation.Emit({.op = "PostTransform",
                           .inputs = {scores},
                           .outputs = {translation.node.outputs[1]},
                           .attributes = {{"post_transform", post_transform}}});
}

}  // namespace

Status LowerTreeEnsembleClassifier(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const std::string post_transform,
                           translation.TakeOr<std::string>("post_transform", "NONE"));
  VERDICT_ASSIGN_OR_RETURN(const Constant label_values,
                           TakeLabels(translation, "classlabels_int64s", "classlabels_strings"));
  const int64_t classes = label_values.shape[0];
  VERDICT_ASSIGN_OR_RETURN(const TreeTable table, TakeTreeTable(translation, "class"));
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, FeatureMatrix(translation, /*keep_double=*/true));
  const ValueId labels = translation.AddConstant("labels", label_values);
  const size_t bases = table.base_values.values.size();
  if (classes == 2 && table.targets.size() == 1) {
    // ONNX says nothing about these, and ONNX Runtime's answer changed between versions.
    if (bases > (*table.targets.begin() == 0 ? 1U : 0U)) {
      return translation.Unsupported("has " + std::to_string(bases) +
                                     " base values where the leaves vote for one of two classes; "
                                     "export with one base value and "
                                     "votes for the first class, or with votes for both");
    }
    return *table.targets.begin() == 0
               ? EmitOneScore(translation, x, table, labels, post_transform)
               : EmitSecondScore(translation, x, table, labels, post_transform);
  }
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores, EmitTrees(translation, x, table, classes,
                                                           table.base_values.values, "SUM"));
  return translation.Emit({.op = "ClassifierOutput",
                           .inputs = {scores, labels},
                           .outputs = translation.node.outputs,
                           .attributes = {{"post_transform", post_transform}}});
}

}  // namespace verdict
