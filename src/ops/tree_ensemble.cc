#include "ops/tree_ensemble.h"

#include <array>
#include <cmath>
#include <limits>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"aggregate", AttributeType::kString},
                                         {"features", AttributeType::kInt, true},
                                         {"targets", AttributeType::kInt, true}};

constexpr std::array<std::string_view, kNumTreeInputs> kNames = {"X",
                                                                 "feature_ids",
                                                                 "splits",
                                                                 "modes",
                                                                 "true_ids",
                                                                 "false_ids",
                                                                 "missing_true",
                                                                 "roots",
                                                                 "leaf_offsets",
                                                                 "leaf_targets",
                                                                 "leaf_weights",
                                                                 "base_values"};

/// Attributes, types and sizes; not the tables' contents.
Status CheckTables(const InferContext& context) {
  const auto attributes = context.attributes();
  TreeAggregate aggregate{};
  if (!ReadTreeAggregate(attributes, &aggregate)) {
    return context.Error("unknown aggregate '" + std::string(attributes.String("aggregate", "")) +
                         "'; known are SUM, AVERAGE, MIN and MAX");
  }
  constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();
  const int64_t targets = attributes.Int("targets", 0);
  const int64_t features = attributes.Int("features", 0);
  if (targets < 1 || targets > kMaxCount || features < 0 || features > kMaxCount) {
    return context.Error("needs 1 or more targets and 0 or more features, both below 2^31");
  }
  for (size_t i = kTreeFeatureIds; i < kNumTreeInputs; ++i) {
    VERDICT_RETURN_IF_ERROR(RequireRank(context, i, kNames[i], 1, 1));
  }
  for (size_t i : {kTreeFeatureIds, kTreeTrueIds, kTreeFalseIds, kTreeRoots, kTreeLeafOffsets,
                   kTreeLeafTargets}) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, i, Types<int32_t>{}));
  }
  for (size_t i : {kTreeModes, kTreeMissingTrue}) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, i, Types<uint8_t>{}));
  }
  VERDICT_RETURN_IF_ERROR(RequireType(context, kTreeSplits, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, kTreeLeafWeights, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kTreeLeafWeights, kTreeBaseValues));
  const Shape& nodes = context.inputs[kTreeFeatureIds].shape;
  for (size_t i : {kTreeSplits, kTreeModes, kTreeTrueIds, kTreeFalseIds, kTreeMissingTrue}) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, i, kNames[i], nodes));
  }
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kTreeLeafWeights, kNames[kTreeLeafWeights],
                                       context.inputs[kTreeLeafTargets].shape));
  if (context.inputs[kTreeRoots].shape[0] == 0) return context.Error("has no trees");
  if (context.inputs[kTreeLeafOffsets].shape[0] == 0) {
    return context.Error("leaf_offsets is empty, needs one more element than there are leaves");
  }
  if (context.inputs[kTreeBaseValues].shape[0] != 0) {
    VERDICT_RETURN_IF_ERROR(
        RequireShape(context, kTreeBaseValues, kNames[kTreeBaseValues], {targets}));
  }
  return OkStatus();
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(CheckTables(context));
  VERDICT_RETURN_IF_ERROR(RequireType(context, kTreeX, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kTreeX, "X", 2, 2));
  const Shape& x = context.inputs[kTreeX].shape;
  const int64_t features = context.attributes().Int("features", 0);
  if (!IsSymbol(x[1]) && x[1] < features) {
    return context.Error(InputText(context, kTreeX, "X") + ", needs " + std::to_string(features) +
                         " columns or more: the trees read as many features");
  }
  context.SetOutput(0, DataType::kFloat32, {x[0], context.attributes().Int("targets", 1)});
  return OkStatus();
}

template <typename TX, typename TSplit>
bool Holds(uint8_t mode, TX x, TSplit split) {
  switch (mode) {
    case kTreeLeq:
      return x <= split;
    case kTreeLess:
      return x < split;
    case kTreeGeq:
      return x >= split;
    case kTreeGreater:
      return x > split;
    case kTreeEq:
      return x == split;
    default:
      return x != split;
  }
}

template <typename TX, typename TSplit, typename TWeight>
class Kernel {
 public:
  explicit Kernel(const KernelContext& context)
      : x_(context.in<TX>(kTreeX)),
        feature_ids_(context.in<int32_t>(kTreeFeatureIds).data()),
        splits_(context.in<TSplit>(kTreeSplits).data()),
        modes_(context.in<uint8_t>(kTreeModes).data()),
        true_ids_(context.in<int32_t>(kTreeTrueIds).data()),
        false_ids_(context.in<int32_t>(kTreeFalseIds).data()),
        missing_true_(context.in<uint8_t>(kTreeMissingTrue).data()),
        roots_(context.in<int32_t>(kTreeRoots)),
        leaf_offsets_(context.in<int32_t>(kTreeLeafOffsets).data()),
        leaf_targets_(context.in<int32_t>(kTreeLeafTargets).data()),
        leaf_weights_(context.in<TWeight>(kTreeLeafWeights).data()),
        base_values_(context.in<TWeight>(kTreeBaseValues)),
        targets_(static_cast<size_t>(context.outputs[0].shape[1])),
        scores_(context.Scratch<TWeight>(targets_)),
        touched_(context.Scratch<uint8_t>(targets_, targets_ * sizeof(double))),
        y_(context.out<float>(0)) {
    ReadTreeAggregate(context.attributes(), &aggregate_);
  }

  void Run(size_t rows, size_t features) {
    for (size_t row = 0; row < rows; ++row) {
      std::fill(scores_.begin(), scores_.end(), TWeight(0));
      std::fill(touched_.begin(), touched_.end(), uint8_t{0});
      for (int32_t root : roots_) AddLeaf(FindLeaf(root, x_.data() + row * features));
      for (size_t target = 0; target < targets_; ++target) {
        TWeight score = scores_[target];
        if (aggregate_ == TreeAggregate::kAverage) score /= static_cast<TWeight>(roots_.size());
        if (!base_values_.empty()) score += base_values_[target];
        y_[row * targets_ + target] = static_cast<float>(score);
      }
    }
  }

 private:
  int32_t FindLeaf(int32_t id, const TX* row) const {
    while (id >= 0) {
      const TX x = row[feature_ids_[id]];
      const bool go_true =
          Holds(modes_[id], x, splits_[id]) || (missing_true_[id] != 0 && std::isnan(x));
      id = go_true ? true_ids_[id] : false_ids_[id];
    }
    return ~id;
  }

  void AddLeaf(int32_t leaf) {
    for (int32_t i = leaf_offsets_[leaf]; i < leaf_offsets_[leaf + 1]; ++i) {
      const TWeight weight = leaf_weights_[i];
      const auto target = static_cast<size_t>(leaf_targets_[i]);
      AddTreeWeight(aggregate_, weight, scores_[target], touched_[target]);
    }
  }

  std::span<const TX> x_;
  const int32_t* feature_ids_;
  const TSplit* splits_;
  const uint8_t* modes_;
  const int32_t* true_ids_;
  const int32_t* false_ids_;
  const uint8_t* missing_true_;
  std::span<const int32_t> roots_;
  const int32_t* leaf_offsets_;
  const int32_t* leaf_targets_;
  const TWeight* leaf_weights_;
  std::span<const TWeight> base_values_;
  size_t targets_;
  std::span<TWeight> scores_;
  std::span<uint8_t> touched_;
  std::span<float> y_;
  TreeAggregate aggregate_ = TreeAggregate::kSum;
};

Status Run(KernelContext& context) {
  const Shape& x = context.inputs[kTreeX].shape;
  return Dispatch(FloatTypes{}, context.inputs[kTreeX].dtype, [&](auto x_type) {
    return Dispatch(FloatTypes{}, context.inputs[kTreeSplits].dtype, [&](auto split_type) {
      return Dispatch(FloatTypes{}, context.inputs[kTreeLeafWeights].dtype, [&](auto weight_type) {
        Kernel<decltype(x_type), decltype(split_type), decltype(weight_type)>(context).Run(
            static_cast<size_t>(x[0]), static_cast<size_t>(x[1]));
        return OkStatus();
      });
    });
  });
}

size_t ScratchBytes(const Node&, std::span<const TensorView>, std::span<const TensorView> outputs) {
  return static_cast<size_t>(outputs[0].shape[1]) * (sizeof(double) + 1);
}

}  // namespace

bool ReadTreeAggregate(const AttributeReader& attributes, TreeAggregate* aggregate) {
  const std::string_view name = attributes.String("aggregate", "SUM");
  if (name == "SUM") {
    *aggregate = TreeAggregate::kSum;
  } else if (name == "AVERAGE") {
    *aggregate = TreeAggregate::kAverage;
  } else if (name == "MIN") {
    *aggregate = TreeAggregate::kMin;
  } else if (name == "MAX") {
    *aggregate = TreeAggregate::kMax;
  } else {
    return false;
  }
  return true;
}

Status VerifyTreeEnsemble(const Graph& graph, const Node& node) {
  std::array<TensorView, kNumTreeInputs> views;
  for (size_t i = kTreeFeatureIds; i < kNumTreeInputs; ++i) {
    const Constant* constant = graph.constant(node.inputs[i]);
    if (constant == nullptr) {
      return InvalidArgument(Graph::Describe(node) + ": input " + std::to_string(i) + " (" +
                             std::string(kNames[i]) + ") must be a constant");
    }
    views[i] = constant->view();
  }
  const InferContext context{node, views, {}, nullptr};
  VERDICT_RETURN_IF_ERROR(CheckTables(context));

  const auto ints = [&](TreeInput input) { return views[input].as<const int32_t>(); };
  const auto entry = [&](TreeInput input, size_t index) {
    return std::string(kNames[input]) + "[" + std::to_string(index) + "]";
  };
  const auto features = ints(kTreeFeatureIds);
  const auto modes = views[kTreeModes].as<const uint8_t>();
  const auto offsets = ints(kTreeLeafOffsets);
  const auto targets = ints(kTreeLeafTargets);
  const int64_t num_nodes = static_cast<int64_t>(features.size());
  const int64_t num_leaves = static_cast<int64_t>(offsets.size()) - 1;
  const auto exists = [&](int32_t id) { return id >= 0 ? id < num_nodes : ~id < num_leaves; };

  for (size_t i = 0; i < features.size(); ++i) {
    if (features[i] < 0 || features[i] >= context.attributes().Int("features", 0)) {
      return context.Error(entry(kTreeFeatureIds, i) + " is " + std::to_string(features[i]) +
                           ", out of range");
    }
    if (modes[i] > kTreeNeq) {
      return context.Error(entry(kTreeModes, i) + " is " + std::to_string(modes[i]) +
                           ", needs 0 to 5");
    }
    for (TreeInput input : {kTreeTrueIds, kTreeFalseIds}) {
      const int32_t child = ints(input)[i];
      if (!exists(child) || (child >= 0 && static_cast<size_t>(child) <= i)) {
        return context.Error(entry(input, i) + " is " + std::to_string(child) +
                             ", needs a leaf or a node after node " + std::to_string(i));
      }
    }
  }
  for (size_t i = 0; i < ints(kTreeRoots).size(); ++i) {
    const int32_t root = ints(kTreeRoots)[i];
    if (!exists(root)) {
      return context.Error(entry(kTreeRoots, i) + " is " + std::to_string(root) + ", out of range");
    }
  }
  int32_t previous = 0;
  for (size_t i = 0; i < offsets.size(); ++i) {
    if (offsets[i] < previous || offsets[i] > static_cast<int64_t>(targets.size())) {
      return context.Error(entry(kTreeLeafOffsets, i) + " is " + std::to_string(offsets[i]) +
                           ": offsets must ascend within the leaf weights");
    }
    previous = offsets[i];
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0 || targets[i] >= context.attributes().Int("targets", 0)) {
      return context.Error(entry(kTreeLeafTargets, i) + " is " + std::to_string(targets[i]) +
                           ", out of range");
    }
  }
  return OkStatus();
}

const OpDef kTreeEnsembleOp = {.name = "TreeEnsemble",
                               .min_inputs = kNumTreeInputs,
                               .max_inputs = kNumTreeInputs,
                               .min_outputs = 1,
                               .max_outputs = 1,
                               .attributes = kAttributes,
                               .infer = Infer,
                               .run = Run,
                               .scratch_bytes = ScratchBytes,
                               .verify = VerifyTreeEnsemble};

}  // namespace verdict
