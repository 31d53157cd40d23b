#include "onnx/tree_table.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

namespace verdict {
namespace {

using Ints = std::vector<int64_t>;

constexpr std::array<std::string_view, 6> kModes = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                                    "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};

struct NodeColumns {
  Ints tree_ids, node_ids, feature_ids, true_ids, false_ids, missing_true;
  std::vector<std::string> modes;
  Numbers splits;
};

Status CheckSize(NodeTranslation& translation, const char* name, size_t have, size_t need) {
  if (have == need) return OkStatus();
  return translation.Error("the attribute '" + std::string(name) + "' has " + std::to_string(have) +
                           " elements, the others have " + std::to_string(need));
}

Result<NodeColumns> TakeNodeColumns(NodeTranslation& translation) {
  NodeColumns columns;
  const std::pair<const char*, Ints*> lists[] = {{"nodes_nodeids", &columns.node_ids},
                                                 {"nodes_featureids", &columns.feature_ids},
                                                 {"nodes_truenodeids", &columns.true_ids},
                                                 {"nodes_falsenodeids", &columns.false_ids}};
  VERDICT_ASSIGN_OR_RETURN(columns.tree_ids, translation.TakeOr<Ints>("nodes_treeids", {}));
  const size_t count = columns.tree_ids.size();
  if (count == 0) return translation.Error("has no tree nodes ('nodes_treeids' is empty)");
  for (const auto& [name, list] : lists) {
    VERDICT_ASSIGN_OR_RETURN(*list, translation.TakeOr<Ints>(name, {}));
    VERDICT_RETURN_IF_ERROR(CheckSize(translation, name, list->size(), count));
  }
  VERDICT_ASSIGN_OR_RETURN(columns.missing_true,
                           translation.TakeOr<Ints>("nodes_missing_value_tracks_true", {}));
  columns.missing_true.resize(std::max(columns.missing_true.size(), count), 0);
  VERDICT_RETURN_IF_ERROR(CheckSize(translation, "nodes_missing_value_tracks_true",
                                    columns.missing_true.size(), count));
  VERDICT_ASSIGN_OR_RETURN(columns.modes,
                           translation.TakeOr<std::vector<std::string>>("nodes_modes", {}));
  VERDICT_RETURN_IF_ERROR(CheckSize(translation, "nodes_modes", columns.modes.size(), count));
  VERDICT_ASSIGN_OR_RETURN(columns.splits, TakeNumbers(translation, "nodes_values"));
  VERDICT_RETURN_IF_ERROR(
      CheckSize(translation, "nodes_values", columns.splits.values.size(), count));
  // Hit rates are advice.
  VERDICT_RETURN_IF_ERROR(translation.Take<std::vector<float>>("nodes_hitrates").status());
  translation.TakeTensor("nodes_hitrates_as_tensor");
  return columns;
}

/// Where each (tree, node) stands in the columns, as a child of Forest: inner nodes and leaves are
/// counted apart.
class NodeIndex {
 public:
  Status Build(NodeTranslation& translation, const NodeColumns& columns) {
    for (size_t i = 0; i < columns.tree_ids.size(); ++i) {
      const bool is_leaf = columns.modes[i] == "LEAF";
      places_.push_back({{columns.tree_ids[i], columns.node_ids[i]},
                         is_leaf ? -(num_leaves_++) - 1 : num_nodes_++});
      children_.push_back(places_.back().child);
    }
    std::ranges::sort(places_, {}, &Place::id);
    const auto twice = std::ranges::adjacent_find(places_, {}, &Place::id);
    if (twice == places_.end()) return OkStatus();
    return translation.Error(Describe(twice->id) + " comes twice");
  }

  /// The child of that id. Errors: kInvalidArgument if there is none.
  Result<int64_t> Find(NodeTranslation& translation, int64_t tree, int64_t node) const {
    const std::pair id(tree, node);
    const auto place = std::ranges::lower_bound(places_, id, {}, &Place::id);
    if (place != places_.end() && place->id == id) return place->child;
    return translation.Error(Describe(id) + " does not exist, but is referred to");
  }

  int64_t At(size_t row) const { return children_[row]; }
  int64_t num_leaves() const { return num_leaves_; }

 private:
  struct Place {
    std::pair<int64_t, int64_t> id;
    int64_t child;
  };

  static std::string Describe(const std::pair<int64_t, int64_t>& id) {
    return "node " + std::to_string(id.second) + " of tree " + std::to_string(id.first);
  }

  std::vector<Place> places_;      // sorted by id
  std::vector<int64_t> children_;  // by row
  int64_t num_nodes_ = 0;
  int64_t num_leaves_ = 0;
};

Result<TreeNode> ReadNode(NodeTranslation& translation, const NodeColumns& columns,
                          const NodeIndex& index, size_t row) {
  TreeNode node;
  const auto mode = std::ranges::find(kModes, columns.modes[row]);
  if (mode == kModes.end()) {
    return translation.Error("unknown mode '" + columns.modes[row] + "' of a tree node");
  }
  node.mode = static_cast<uint8_t>(mode - kModes.begin());
  const int64_t feature = columns.feature_ids[row];
  if (feature < 0 || feature >= std::numeric_limits<int32_t>::max()) {
    return translation.Error("a tree node reads feature " + std::to_string(feature));
  }
  node.feature = static_cast<int32_t>(feature);
  node.split = columns.splits.values[row];
  node.missing_true = columns.missing_true[row] != 0;
  const int64_t tree = columns.tree_ids[row];
  VERDICT_ASSIGN_OR_RETURN(node.true_child, index.Find(translation, tree, columns.true_ids[row]));
  VERDICT_ASSIGN_OR_RETURN(node.false_child, index.Find(translation, tree, columns.false_ids[row]));
  return node;
}

/// Each tree's root is the node that is listed first, as ONNX Runtime has it.
void AddRoots(const NodeColumns& columns, const NodeIndex& index, Forest& forest) {
  std::set<int64_t> seen;
  for (size_t row = 0; row < columns.tree_ids.size(); ++row) {
    if (seen.insert(columns.tree_ids[row]).second) forest.roots.push_back(index.At(row));
  }
}

Status AddWeights(NodeTranslation& translation, const std::string& prefix, const NodeIndex& index,
                  TreeTable& table) {
  VERDICT_ASSIGN_OR_RETURN(const Ints trees, translation.TakeOr<Ints>(prefix + "_treeids", {}));
  VERDICT_ASSIGN_OR_RETURN(const Ints nodes, translation.TakeOr<Ints>(prefix + "_nodeids", {}));
  VERDICT_ASSIGN_OR_RETURN(const Ints targets, translation.TakeOr<Ints>(prefix + "_ids", {}));
  VERDICT_ASSIGN_OR_RETURN(const Numbers weights, TakeNumbers(translation, prefix + "_weights"));
  for (size_t size : {nodes.size(), targets.size(), weights.values.size()}) {
    if (size != trees.size()) {
      return translation.Error("the attributes '" + prefix + "_*' have different lengths");
    }
  }
  table.double_weights = weights.is_double;
  for (size_t i = 0; i < trees.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(const int64_t child, index.Find(translation, trees[i], nodes[i]));
    table.targets.insert(targets[i]);
    table.has_negative_weight |= weights.values[i] < 0;
    if (child < 0) table.forest.weights.push_back({-(child + 1), targets[i], weights.values[i]});
  }
  return OkStatus();
}

Constant NumberList(const std::vector<double>& values, bool is_double) {
  const Shape shape = {static_cast<Dim>(values.size())};
  if (is_double) return Constant::Of<double>(shape, values);
  const std::vector<float> floats(values.begin(), values.end());
  return Constant::Of<float>(shape, floats);
}

template <typename T>
Constant List(const std::vector<T>& values) {
  return Constant::Of<T>({static_cast<Dim>(values.size())}, values);
}

}  // namespace

Result<Numbers> TakeNumbers(NodeTranslation& translation, const std::string& name) {
  Numbers numbers;
  VERDICT_ASSIGN_OR_RETURN(const auto floats, translation.TakeOr<std::vector<float>>(name, {}));
  numbers.values.assign(floats.begin(), floats.end());
  const auto tensor = translation.TakeTensor(name + "_as_tensor");
  if (!tensor.has_value()) return numbers;
  if (!floats.empty() || tensor->shape.rank() != 1) {
    return translation.Error("the attribute '" + name + "_as_tensor' must be a list, and '" + name +
                             "' must not be there with it");
  }
  if (tensor->dtype == DataType::kFloat64) {
    const auto values = tensor->view().as<const double>();
    numbers.values.assign(values.begin(), values.end());
    numbers.is_double = true;
  } else if (tensor->dtype == DataType::kFloat32) {
    const auto values = tensor->view().as<const float>();
    numbers.values.assign(values.begin(), values.end());
  } else {
    return translation.Error("the attribute '" + name + "_as_tensor' must be of floats or doubles");
  }
  return numbers;
}

Result<TreeTable> TakeTreeTable(NodeTranslation& translation, const std::string& prefix) {
  TreeTable table;
  VERDICT_ASSIGN_OR_RETURN(const NodeColumns columns, TakeNodeColumns(translation));
  NodeIndex index;
  VERDICT_RETURN_IF_ERROR(index.Build(translation, columns));
  for (size_t row = 0; row < columns.tree_ids.size(); ++row) {
    if (index.At(row) < 0) continue;
    VERDICT_ASSIGN_OR_RETURN(const TreeNode node, ReadNode(translation, columns, index, row));
    table.forest.nodes.push_back(node);
  }
  AddRoots(columns, index, table.forest);
  table.forest.num_leaves = index.num_leaves();
  table.double_splits = columns.splits.is_double;
  VERDICT_RETURN_IF_ERROR(AddWeights(translation, prefix, index, table));
  VERDICT_ASSIGN_OR_RETURN(table.base_values, TakeNumbers(translation, "base_values"));
  return table;
}

Result<ValueId> EmitTrees(NodeTranslation& translation, ValueId x, const TreeTable& table,
                          int64_t targets, const std::vector<double>& base_values,
                          const std::string& aggregate, ValueId scores) {
  auto layout = LayOutTrees(table.forest, targets);
  if (!layout.ok()) {
    return layout.status().WithContext(Graph::Describe(translation.node));
  }
  if (!base_values.empty() && static_cast<int64_t>(base_values.size()) != targets) {
    return translation.Error("has " + std::to_string(base_values.size()) + " base values for " +
                             std::to_string(targets) + " scores");
  }
  int64_t features = 0;
  for (int32_t feature : layout->feature_ids) features = std::max(features, int64_t{feature} + 1);
  const bool double_weights = table.double_weights || table.double_splits ||
                              translation.value(x).dtype == DataType::kFloat64;
  const auto add = [&](const char* name, Constant constant) {
    return translation.AddConstant(name, std::move(constant));
  };
  Node node{
      .op = "TreeEnsemble",
      .inputs = {x, add("feature_ids", List(layout->feature_ids)),
                 add("splits", NumberList(layout->splits, table.double_splits)),
                 add("modes", List(layout->modes)), add("true_ids", List(layout->true_ids)),
                 add("false_ids", List(layout->false_ids)),
                 add("missing_true", List(layout->missing_true)), add("roots", List(layout->roots)),
                 add("leaf_offsets", List(layout->leaf_offsets)),
                 add("leaf_targets", List(layout->leaf_targets)),
                 add("leaf_weights", NumberList(layout->leaf_weights, double_weights)),
                 add("base_values", NumberList(base_values, double_weights))},
      .attributes = {{"targets", targets}, {"features", features}, {"aggregate", aggregate}}};
  if (scores == kNoValue) {
    return translation.EmitValue(std::move(node.op), std::move(node.inputs),
                                 std::move(node.attributes));
  }
  node.outputs = {scores};
  VERDICT_RETURN_IF_ERROR(translation.Emit(std::move(node)));
  return scores;
}

}  // namespace verdict
