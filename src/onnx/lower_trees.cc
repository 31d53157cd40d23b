#include <algorithm>
#include <array>
#include <limits>

#include "onnx/features.h"
#include "onnx/opset_table.h"
#include "onnx/proto.h"
#include "onnx/tree_table.h"

namespace verdict {
namespace {

using Ints = std::vector<int64_t>;

/// The scores of `table`, after `post_transform`, as the node's output 0.
Status EmitRegression(NodeTranslation& translation, const TreeTable& table, int64_t targets,
                      const std::string& aggregate, const std::string& post_transform) {
  if (!translation.has_output(0)) return translation.Error("has no output");
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, FeatureMatrix(translation, /*keep_double=*/true));
  const bool is_last = post_transform == "NONE";
  VERDICT_ASSIGN_OR_RETURN(const ValueId scores,
                           EmitTrees(translation, x, table, targets, table.base_values.values,
                                     aggregate, is_last ? translation.node.outputs[0] : kNoValue));
  if (is_last) return OkStatus();
  return translation.Emit({.op = "PostTransform",
                           .inputs = {scores},
                           .outputs = translation.node.outputs,
                           .attributes = {{"post_transform", post_transform}}});
}

/// The name that a number of version 5 stands for.
template <size_t kCount>
Result<std::string> TakeEnum(NodeTranslation& translation, const char* attribute, int64_t fallback,
                             const std::array<const char*, kCount>& names) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t number, translation.TakeOr<int64_t>(attribute, fallback));
  if (number < 0 || number >= static_cast<int64_t>(kCount)) {
    return translation.Error("the attribute '" + std::string(attribute) + "' is " +
                             std::to_string(number) + ", which means nothing");
  }
  return std::string(names[static_cast<size_t>(number)]);
}

/// A tensor attribute of version 5 as doubles.
Result<Numbers> TakeTensorNumbers(NodeTranslation& translation, const char* name) {
  const auto tensor = translation.TakeTensor(name);
  if (!tensor.has_value() || tensor->shape.rank() != 1) {
    return translation.Error("the attribute '" + std::string(name) + "' must be a list");
  }
  Numbers numbers;
  if (tensor->dtype == DataType::kFloat64) {
    const auto values = tensor->view().as<const double>();
    numbers = {{values.begin(), values.end()}, true};
  } else if (tensor->dtype == DataType::kFloat32) {
    const auto values = tensor->view().as<const float>();
    numbers = {{values.begin(), values.end()}, false};
  } else {
    return translation.Unsupported("the attribute '" + std::string(name) +
                                   "' must be of floats or doubles");
  }
  return numbers;
}

struct Columns5 {
  Ints feature_ids, true_ids, false_ids, true_leafs, false_leafs, missing_true;
  std::vector<uint8_t> modes;
  Numbers splits;
};

Result<Columns5> TakeColumns5(NodeTranslation& translation) {
  Columns5 columns;
  const std::pair<const char*, Ints*> lists[] = {{"nodes_featureids", &columns.feature_ids},
                                                 {"nodes_truenodeids", &columns.true_ids},
                                                 {"nodes_falsenodeids", &columns.false_ids},
                                                 {"nodes_trueleafs", &columns.true_leafs},
                                                 {"nodes_falseleafs", &columns.false_leafs}};
  const auto modes = translation.TakeTensor("nodes_modes");
  if (!modes.has_value() || modes->dtype != DataType::kUInt8 || modes->shape.rank() != 1) {
    return translation.Error("the attribute 'nodes_modes' must be a list of u8");
  }
  const auto mode_values = modes->view().as<const uint8_t>();
  columns.modes.assign(mode_values.begin(), mode_values.end());
  for (const auto& [name, list] : lists) {
    VERDICT_ASSIGN_OR_RETURN(*list, translation.TakeOr<Ints>(name, {}));
    if (list->size() != columns.modes.size()) {
      return translation.Error("the attributes 'nodes_*' have different lengths");
    }
  }
  VERDICT_ASSIGN_OR_RETURN(columns.missing_true,
                           translation.TakeOr<Ints>("nodes_missing_value_tracks_true", {}));
  columns.missing_true.resize(std::max(columns.missing_true.size(), columns.modes.size()), 0);
  VERDICT_ASSIGN_OR_RETURN(columns.splits, TakeTensorNumbers(translation, "nodes_splits"));
  translation.TakeTensor("nodes_hitrates");  // advice
  if (columns.missing_true.size() != columns.modes.size() ||
      columns.splits.values.size() != columns.modes.size()) {
    return translation.Error("the attributes 'nodes_*' have different lengths");
  }
  return columns;
}

Result<TreeNode> ReadNode5(NodeTranslation& translation, const Columns5& columns, size_t row) {
  constexpr uint8_t kMember = 6;
  if (columns.modes[row] == kMember) {
    return translation.Unsupported(
        "set membership (BRANCH_MEMBER) is not supported; export categories as chains of "
        "BRANCH_EQ");
  }
  if (columns.modes[row] > kMember) {
    return translation.Error("unknown mode " + std::to_string(columns.modes[row]));
  }
  if (columns.feature_ids[row] < 0 ||
      columns.feature_ids[row] >= std::numeric_limits<int32_t>::max()) {
    return translation.Error("a tree node reads feature " +
                             std::to_string(columns.feature_ids[row]));
  }
  if (columns.true_ids[row] < 0 || columns.false_ids[row] < 0) {
    return translation.Error("a tree node has a negative child");
  }
  const auto child = [](int64_t id, int64_t is_leaf) { return is_leaf != 0 ? -id - 1 : id; };
  return TreeNode{.feature = static_cast<int32_t>(columns.feature_ids[row]),
                  .split = columns.splits.values[row],
                  .mode = columns.modes[row],
                  .missing_true = columns.missing_true[row] != 0,
                  .true_child = child(columns.true_ids[row], columns.true_leafs[row]),
                  .false_child = child(columns.false_ids[row], columns.false_leafs[row])};
}

Result<TreeTable> TakeTreeTable5(NodeTranslation& translation) {
  TreeTable table;
  VERDICT_ASSIGN_OR_RETURN(const Columns5 columns, TakeColumns5(translation));
  table.double_splits = columns.splits.is_double;
  for (size_t row = 0; row < columns.modes.size(); ++row) {
    VERDICT_ASSIGN_OR_RETURN(const TreeNode node, ReadNode5(translation, columns, row));
    table.forest.nodes.push_back(node);
  }
  VERDICT_ASSIGN_OR_RETURN(table.forest.roots, translation.TakeOr<Ints>("tree_roots", {}));
  if (std::ranges::any_of(table.forest.roots, [](int64_t root) { return root < 0; })) {
    return translation.Error("the attribute 'tree_roots' has a negative element");
  }
  VERDICT_ASSIGN_OR_RETURN(const Ints targets, translation.TakeOr<Ints>("leaf_targetids", {}));
  VERDICT_ASSIGN_OR_RETURN(const Numbers weights, TakeTensorNumbers(translation, "leaf_weights"));
  if (targets.size() != weights.values.size()) {
    return translation.Error("the attributes 'leaf_*' have different lengths");
  }
  table.double_weights = weights.is_double;
  table.forest.num_leaves = static_cast<int64_t>(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    table.forest.weights.push_back({static_cast<int64_t>(i), targets[i], weights.values[i]});
  }
  return table;
}

}  // namespace

Status LowerTreeEnsembleRegressor(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t targets, translation.TakeOr<int64_t>("n_targets", 0));
  VERDICT_ASSIGN_OR_RETURN(const std::string aggregate,
                           translation.TakeOr<std::string>("aggregate_function", "SUM"));
  VERDICT_ASSIGN_OR_RETURN(const std::string post_transform,
                           translation.TakeOr<std::string>("post_transform", "NONE"));
  VERDICT_ASSIGN_OR_RETURN(const TreeTable table, TakeTreeTable(translation, "target"));
  return EmitRegression(translation, table, targets, aggregate, post_transform);
}

Status LowerTreeEnsemble5(NodeTranslation& translation) {
  constexpr std::array kAggregates = {"AVERAGE", "SUM", "MIN", "MAX"};
  constexpr std::array kTransforms = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  VERDICT_ASSIGN_OR_RETURN(const int64_t targets, translation.TakeOr<int64_t>("n_targets", 0));
  VERDICT_ASSIGN_OR_RETURN(const std::string aggregate,
                           TakeEnum(translation, "aggregate_function", 1, kAggregates));
  VERDICT_ASSIGN_OR_RETURN(const std::string post_transform,
                           TakeEnum(translation, "post_transform", 0, kTransforms));
  VERDICT_ASSIGN_OR_RETURN(const TreeTable table, TakeTreeTable5(translation));
  VERDICT_ASSIGN_OR_RETURN(const Value* x, translation.Input(0));
  if (x->dtype != DataType::kFloat64) {
    return EmitRegression(translation, table, targets, aggregate, post_transform);
  }
  // The scores have the features' type.
  if (!translation.has_output(0)) return translation.Error("has no output");
  const ValueId output = translation.node.outputs[0];
  VERDICT_ASSIGN_OR_RETURN(const ValueId matrix, FeatureMatrix(translation, /*keep_double=*/true));
  VERDICT_ASSIGN_OR_RETURN(ValueId scores,
                           EmitTrees(translation, matrix, table, targets, {}, aggregate));
  if (post_transform != "NONE") {
    VERDICT_ASSIGN_OR_RETURN(scores, translation.EmitValue("PostTransform", {scores},
                                                           {{"post_transform", post_transform}}));
  }
  return translation.Emit({.op = "Cast",
                           .inputs = {scores},
                           .outputs = {output},
                           .attributes = {{"to", int64_t{onnx::TensorProto::DOUBLE}}}});
}

}  // namespace verdict
