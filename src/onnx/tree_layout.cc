#include "onnx/tree_layout.h"

#include <algorithm>
#include <limits>

namespace verdict {
namespace {

constexpr size_t kMaxCount = std::numeric_limits<int32_t>::max() - 1;

class Walker {
 public:
  explicit Walker(const Forest& forest)
      : forest_(forest),
        states_(forest.nodes.size(), kNew),
        new_ids_(forest.nodes.size(), -1),
        new_leaves_(static_cast<size_t>(forest.num_leaves), -1) {}

  /// Numbers what the root reaches, parents first: the reverse of the order in which a depth-first
  /// walk leaves the nodes.
  Status Visit(int64_t root) {
    VERDICT_RETURN_IF_ERROR(CheckChild(root));
    if (root < 0) {
      NumberLeaf(root);
      return OkStatus();
    }
    std::vector<int64_t> left;
    if (State(root) == kNew) VERDICT_RETURN_IF_ERROR(Walk(root, left));
    for (auto it = left.rbegin(); it != left.rend(); ++it) {
      new_ids_[static_cast<size_t>(*it)] = static_cast<int32_t>(order_.size());
      order_.push_back(*it);
    }
    for (auto it = left.rbegin(); it != left.rend(); ++it) {
      const TreeNode& node = forest_.nodes[static_cast<size_t>(*it)];
      for (int64_t child : {node.true_child, node.false_child}) {
        if (child < 0) NumberLeaf(child);
      }
    }
    return OkStatus();
  }

  /// A child's or root's id in the new numbering.
  int32_t NewId(int64_t child) const {
    if (child >= 0) return new_ids_[static_cast<size_t>(child)];
    return -new_leaves_[static_cast<size_t>(-(child + 1))] - 1;
  }
  int32_t NewLeaf(int64_t leaf) const { return new_leaves_[static_cast<size_t>(leaf)]; }
  const std::vector<int64_t>& order() const { return order_; }
  int32_t num_leaves() const { return num_leaves_; }

 private:
  enum : uint8_t { kNew, kOpen, kLeft };

  uint8_t& State(int64_t node) { return states_[static_cast<size_t>(node)]; }

  Status CheckChild(int64_t child) const {
    const bool exists = child >= 0 ? child < static_cast<int64_t>(forest_.nodes.size())
                                   : -(child + 1) < forest_.num_leaves;
    if (exists) return OkStatus();
    return InvalidArgument(
        "a tree points to the " +
        (child >= 0 ? "node " + std::to_string(child) : "leaf " + std::to_string(-(child + 1))) +
        ", which does not exist");
  }

  Status Walk(int64_t root, std::vector<int64_t>& left) {
    std::vector<std::pair<int64_t, int>> path = {{root, 0}};  // node, children seen
    State(root) = kOpen;
    while (!path.empty()) {
      auto& [node, seen] = path.back();
      if (seen == 2) {
        State(node) = kLeft;
        left.push_back(node);
        path.pop_back();
        continue;
      }
      // The true branch is walked last, so that it directly follows its parent.
      const TreeNode& inner = forest_.nodes[static_cast<size_t>(node)];
      const int64_t child = seen++ == 0 ? inner.false_child : inner.true_child;
      VERDICT_RETURN_IF_ERROR(CheckChild(child));
      if (child < 0 || State(child) == kLeft) continue;
      if (State(child) == kOpen) {
        return InvalidArgument("a tree has a cycle through node " + std::to_string(child));
      }
      State(child) = kOpen;
      path.emplace_back(child, 0);
    }
    return OkStatus();
  }

  void NumberLeaf(int64_t child) {
    int32_t& leaf = new_leaves_[static_cast<size_t>(-(child + 1))];
    if (leaf < 0) leaf = num_leaves_++;
  }

  const Forest& forest_;
  std::vector<uint8_t> states_;
  std::vector<int32_t> new_ids_;
  std::vector<int32_t> new_leaves_;
  std::vector<int64_t> order_;
  int32_t num_leaves_ = 0;
};

Status AddWeights(const Forest& forest, const Walker& walker, int64_t num_targets,
                  TreeLayout& layout) {
  std::vector<LeafWeight> weights;
  weights.reserve(forest.weights.size());
  for (LeafWeight weight : forest.weights) {
    if (weight.target < 0 || weight.target >= num_targets) {
      return InvalidArgument("a leaf adds to target " + std::to_string(weight.target) + " of " +
                             std::to_string(num_targets));
    }
    if (weight.leaf < 0 || weight.leaf >= forest.num_leaves) {
      return InvalidArgument("a weight is for leaf " + std::to_string(weight.leaf) +
                             ", which does not exist");
    }
    weight.leaf = walker.NewLeaf(weight.leaf);
    if (weight.leaf >= 0) weights.push_back(weight);
  }
  std::ranges::stable_sort(weights, {}, &LeafWeight::leaf);
  size_t next = 0;
  layout.leaf_offsets.push_back(0);
  for (int32_t leaf = 0; leaf < walker.num_leaves(); ++leaf) {
    for (; next < weights.size() && weights[next].leaf == leaf; ++next) {
      layout.leaf_targets.push_back(static_cast<int32_t>(weights[next].target));
      layout.leaf_weights.push_back(weights[next].weight);
    }
    layout.leaf_offsets.push_back(static_cast<int32_t>(next));
  }
  return OkStatus();
}

}  // namespace

Result<TreeLayout> LayOutTrees(const Forest& forest, int64_t num_targets) {
  if (forest.nodes.size() > kMaxCount || forest.weights.size() > kMaxCount ||
      forest.roots.size() > kMaxCount || forest.num_leaves > static_cast<int64_t>(kMaxCount) ||
      num_targets > static_cast<int64_t>(kMaxCount)) {
    return ResourceExhausted("the trees have more than 2^31 nodes, leaves or weights");
  }
  Walker walker(forest);
  TreeLayout layout;
  for (int64_t root : forest.roots) {
    VERDICT_RETURN_IF_ERROR(walker.Visit(root));
    layout.roots.push_back(walker.NewId(root));
  }
  if (walker.order().size() != forest.nodes.size()) {
    return InvalidArgument(std::to_string(forest.nodes.size() - walker.order().size()) +
                           " nodes of the trees cannot be reached from a root");
  }
  for (int64_t old_id : walker.order()) {
    const TreeNode& node = forest.nodes[static_cast<size_t>(old_id)];
    layout.feature_ids.push_back(node.feature);
    layout.splits.push_back(node.split);
    layout.modes.push_back(node.mode);
    layout.true_ids.push_back(walker.NewId(node.true_child));
    layout.false_ids.push_back(walker.NewId(node.false_child));
    layout.missing_true.push_back(node.missing_true ? 1 : 0);
    const auto id = static_cast<int32_t>(layout.modes.size()) - 1;
    for (int32_t child : {layout.true_ids.back(), layout.false_ids.back()}) {
      if (child >= 0 && child <= id) return InvalidArgument("two trees share a node");
    }
  }
  VERDICT_RETURN_IF_ERROR(AddWeights(forest, walker, num_targets, layout));
  return layout;
}

}  // namespace verdict
