#include <map>

#include "onnx/export_table.h"
#include "onnx/opset_table.h"
#include "onnx/proto.h"
#include "onnx/proto_tensor.h"
#include "ops/tree_ensemble.h"

// TreeEnsemble becomes TreeEnsembleRegressor, whose attributes list the nodes tree by tree, a
// tree's root first. Nodes that several trees share are written for each of them.

namespace verdict {
namespace {

using Ints = std::vector<int64_t>;

/// A tree's nodes are numbered from 0; all lists of one kind have one length.
struct Rows {
  Ints tree_ids, node_ids, features, true_ids, false_ids, missing_true;
  std::vector<std::string> modes;
  std::vector<double> splits;
  Ints leaf_tree_ids, leaf_node_ids, leaf_targets;
  std::vector<double> leaf_weights;
};

/// Beyond this the file would pass 2 GiB long before.
constexpr size_t kMaxRows = size_t{1} << 24;

constexpr const char* kModes[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                  "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};

/// Elements of a constant of f32 or f64.
std::vector<double> Doubles(const Constant& constant) {
  if (constant.dtype == DataType::kFloat64) {
    const auto values = constant.view().as<const double>();
    return {values.begin(), values.end()};
  }
  const auto values = constant.view().as<const float>();
  return {values.begin(), values.end()};
}

/// The tables of a TreeEnsemble, which VerifyGraph has checked.
class TreeWriter {
 public:
  explicit TreeWriter(const NodeExport& node) : node_(node) {}

  Result<Rows> Write() {
    const auto roots = Table<int32_t>(kTreeRoots);
    for (size_t tree = 0; tree < roots.size(); ++tree) {
      VERDICT_RETURN_IF_ERROR(WriteTree(static_cast<int64_t>(tree), roots[tree]));
    }
    return std::move(rows_);
  }

 private:
  template <typename T>
  std::span<const T> Table(TreeInput input) const {
    return node_.ConstantInput(input)->view().as<const T>();
  }

  /// Breadth first: ids in `order` have their number in the tree.
  Status WriteTree(int64_t tree, int32_t root) {
    std::vector<int32_t> order = {root};
    std::map<int32_t, int64_t> numbers = {{root, 0}};
    const auto number_of = [&](int32_t id) {
      const auto [entry, is_new] = numbers.emplace(id, static_cast<int64_t>(order.size()));
      if (is_new) order.push_back(id);
      return entry->second;
    };
    for (size_t i = 0; i < order.size(); ++i) {
      if (rows_.node_ids.size() >= kMaxRows) {
        return ResourceExhausted(Graph::Describe(node_.node) +
                                 ": cannot be exported: it has more than 2^24 tree nodes");
      }
      const int32_t id = order[i];
      rows_.tree_ids.push_back(tree);
      rows_.node_ids.push_back(static_cast<int64_t>(i));
      if (id < 0) {
        WriteLeaf(-(id + 1));
        continue;
      }
      const auto at = static_cast<size_t>(id);
      rows_.features.push_back(Table<int32_t>(kTreeFeatureIds)[at]);
      rows_.modes.emplace_back(kModes[Table<uint8_t>(kTreeModes)[at]]);
      rows_.splits.push_back(splits_[at]);
      rows_.missing_true.push_back(Table<uint8_t>(kTreeMissingTrue)[at]);
      rows_.true_ids.push_back(number_of(Table<int32_t>(kTreeTrueIds)[at]));
      rows_.false_ids.push_back(number_of(Table<int32_t>(kTreeFalseIds)[at]));
    }
    return OkStatus();
  }

  /// The row that has just been begun is this leaf.
  void WriteLeaf(int32_t leaf) {
    rows_.features.push_back(0);
    rows_.modes.emplace_back("LEAF");
    rows_.splits.push_back(0);
    rows_.missing_true.push_back(0);
    rows_.true_ids.push_back(0);
    rows_.false_ids.push_back(0);
    const auto offsets = Table<int32_t>(kTreeLeafOffsets);
    const auto at = static_cast<size_t>(leaf);
    for (auto i = static_cast<size_t>(offsets[at]); i < static_cast<size_t>(offsets[at + 1]); ++i) {
      rows_.leaf_tree_ids.push_back(rows_.tree_ids.back());
      rows_.leaf_node_ids.push_back(rows_.node_ids.back());
      rows_.leaf_targets.push_back(Table<int32_t>(kTreeLeafTargets)[i]);
      rows_.leaf_weights.push_back(weights_[i]);
    }
  }

  const NodeExport& node_;
  const std::vector<double> splits_ = Doubles(*node_.ConstantInput(kTreeSplits));
  const std::vector<double> weights_ = Doubles(*node_.ConstantInput(kTreeLeafWeights));
  Rows rows_;
};

/// NAME, floats, or NAME_as_tensor, doubles.
void AddNumbers(onnx::NodeProto& proto, const std::string& name, bool is_double,
                const std::vector<double>& values) {
  onnx::AttributeProto& attribute = *proto.add_attribute();
  if (is_double) {
    attribute.set_name(name + "_as_tensor");
    attribute.set_type(onnx::AttributeProto::TENSOR);
    *attribute.mutable_t() =
        TensorFromConstant("", Constant::Of<double>({static_cast<Dim>(values.size())}, values));
    return;
  }
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::FLOATS);
  for (double value : values) attribute.add_floats(static_cast<float>(value));
}

}  // namespace

// ONNX Runtime computes in f64 where the features are f64, and only there.
Status ExportTreeEnsemble(NodeExport& node) {
  VERDICT_ASSIGN_OR_RETURN(const Rows rows, TreeWriter(node).Write());
  const auto is_f64 = [&](size_t input) { return node.input(input).dtype == DataType::kFloat64; };
  const bool is_double = is_f64(kTreeX) || is_f64(kTreeSplits) || is_f64(kTreeLeafWeights);
  std::string x = node.Input(kTreeX);
  if (is_double && !is_f64(kTreeX)) {
    x = node.EmitValue("Cast", {x}, {{"to", int64_t{onnx::TensorProto::DOUBLE}}});
  }
  const Attributes attributes = {
      {"aggregate_function", std::string(node.reader().String("aggregate", "SUM"))},
      {"n_targets", node.reader().Int("targets", 1)},
      {"nodes_falsenodeids", rows.false_ids},
      {"nodes_featureids", rows.features},
      {"nodes_missing_value_tracks_true", rows.missing_true},
      {"nodes_modes", rows.modes},
      {"nodes_nodeids", rows.node_ids},
      {"nodes_treeids", rows.tree_ids},
      {"nodes_truenodeids", rows.true_ids},
      {"target_ids", rows.leaf_targets},
      {"target_nodeids", rows.leaf_node_ids},
      {"target_treeids", rows.leaf_tree_ids},
  };
  onnx::NodeProto& proto =
      node.Emit("TreeEnsembleRegressor", {x}, node.Outputs(), attributes, kMlDomain);
  AddNumbers(proto, "nodes_values", is_double, rows.splits);
  AddNumbers(proto, "target_weights", is_double, rows.leaf_weights);
  const std::vector<double> base_values = Doubles(*node.ConstantInput(kTreeBaseValues));
  if (!base_values.empty()) AddNumbers(proto, "base_values", is_double, base_values);
  return OkStatus();
}

}  // namespace verdict
