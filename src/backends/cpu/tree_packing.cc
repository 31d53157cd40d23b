#include "backends/cpu/tree_packing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/tree_split.h"
#include "base/checked_math.h"
#include "ops/tree_ensemble.h"

namespace verdict::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kMaxColumns = size_t{1} << 16;
/// Tables by feature are indexed by its number.
constexpr int64_t kMaxFeatures = int64_t{1} << 20;
/// Of nodes and of leaves, so that counts and children fit.
constexpr size_t kMaxNodes = size_t{1} << 30;

class Packer {
 public:
  Packer(const Graph& graph, const Node& node) : x_(graph.value(node.inputs[kTreeX])) {
    for (size_t i = kTreeFeatureIds; i < kNumTreeInputs; ++i) {
      views_[i] = graph.constant(node.inputs[i])->view();
    }
    features_ = ints(kTreeFeatureIds);
    modes_ = views_[kTreeModes].as<const uint8_t>();
    true_ids_ = ints(kTreeTrueIds);
    false_ids_ = ints(kTreeFalseIds);
    missing_true_ = views_[kTreeMissingTrue].as<const uint8_t>();
    offsets_ = ints(kTreeLeafOffsets);
    targets_ = ints(kTreeLeafTargets);
  }

  /// All but the packed bytes themselves.
  Status Analyze() {
    if (x_.dtype != DataType::kFloat32) return Unimplemented("X is not float32");
    VERDICT_RETURN_IF_ERROR(SplitIntoTrees());
    VERDICT_RETURN_IF_ERROR(CollectKeys());
    VERDICT_RETURN_IF_ERROR(MakeTables());
    DescribeLeaves();
    return OkStatus();
  }

  const TreeHeader& header() const { return header_; }

  std::vector<std::byte> Pack() const {
    const TreeParts parts(header_);
    std::vector<std::byte> bytes(parts.bytes);
    const auto copy = [&](size_t offset, const auto& list) {
      if (!list.empty()) {
        std::memcpy(bytes.data() + offset, list.data(), list.size() * sizeof(list[0]));
      }
    };
    std::memcpy(bytes.data(), &header_, sizeof header_);
    copy(parts.tables, tables_);
    WriteKeys(reinterpret_cast<float*>(bytes.data() + parts.keys));
    std::vector<TreeSpan> trees = trees_;
    trees.resize(trees.size() + kTreeLanes - 1, trees.back());
    copy(parts.trees, trees);
    if (header_.simple_leaves == 0) {
      copy(parts.leaves, leaves_);
    } else if (header_.double_weights != 0) {
      WriteWeights<double>(bytes.data() + parts.leaves);
    } else {
      WriteWeights<float>(bytes.data() + parts.leaves);
    }
    if (header_.child_bytes == 1) WriteNodes<uint8_t>(bytes.data() + parts.nodes);
    if (header_.child_bytes == 2) WriteNodes<uint16_t>(bytes.data() + parts.nodes);
    if (header_.child_bytes == 4) WriteNodes<uint32_t>(bytes.data() + parts.nodes);
    return bytes;
  }

 private:
  std::span<const int32_t> ints(TreeInput input) const { return views_[input].as<const int32_t>(); }
  double split(size_t node) const {
    return views_[kTreeSplits].dtype == DataType::kFloat64
               ? views_[kTreeSplits].as<const double>()[node]
               : double{views_[kTreeSplits].as<const float>()[node]};
  }
  TreeTests TestsOfNode(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    return TestsOf(modes_[i], split(i), missing_true_[i] != 0, true_ids_[i], false_ids_[i]);
  }

  /// Which nodes and leaves are whose, each tree's in the constants' order: children last.
  Status SplitIntoTrees() {
    node_places_.resize(features_.size());
    leaf_places_.resize(offsets_.size() - 1);
    std::vector<int32_t> open;
    size_t num_nodes = 0, largest = 0, longest_walk = 1;
    for (int32_t root : ints(kTreeRoots)) {
      const auto tree = static_cast<uint32_t>(trees_.size());
      const size_t first = nodes_.size(), first_leaf = leaves_.size();
      open.assign(1, root);
      while (!open.empty()) {
        const int32_t id = open.back();
        open.pop_back();
        Place& place = PlaceOf(id);
        if (place.tree == tree) continue;
        if (place.tree != kNoTree) return Unimplemented("trees share nodes or leaves");
        place.tree = tree;
        if (id < 0) {
          place.local = static_cast<uint32_t>(leaves_.size() - first_leaf);
          leaves_.push_back(~id);
        } else {
          nodes_.push_back(id);
          open.push_back(false_ids_[static_cast<size_t>(id)]);
          open.push_back(true_ids_[static_cast<size_t>(id)]);
        }
      }
      longest_walk = std::max(longest_walk, SortByLevel(std::span(nodes_).subspan(first)));
      size_t count = 0;
      for (size_t i = first; i < nodes_.size(); ++i) {
        PlaceOf(nodes_[i]).local = static_cast<uint32_t>(count);
        count += static_cast<size_t>(TestsOfNode(nodes_[i]).count);
      }
      count = std::max<size_t>(count, 1);  // a tree that is a leaf: see WriteNodes
      const size_t num_leaves = leaves_.size() - first_leaf;
      trees_.push_back({.first_node = static_cast<uint32_t>(num_nodes),
                        .num_nodes = static_cast<uint32_t>(count),
                        .first_leaf = static_cast<uint32_t>(first_leaf),
                        .num_leaves = static_cast<uint32_t>(num_leaves),
                        .target = 0});
      num_nodes += count;
      if (num_nodes > kMaxNodes || leaves_.size() > kMaxNodes) {
        return Unimplemented("there are more than 2^30 nodes or leaves");
      }
      largest = std::max({largest, count, num_leaves});
    }
    const size_t typical_walk = std::bit_width(leaves_.size() / trees_.size()) + 2;
    header_.first_steps = static_cast<uint32_t>(std::clamp<size_t>(typical_walk, 1, longest_walk));
    header_.num_trees = static_cast<uint32_t>(trees_.size());
    header_.num_nodes = static_cast<uint32_t>(num_nodes);
    header_.num_leaves = static_cast<uint32_t>(leaves_.size());
    header_.child_bytes = largest <= 128 ? 1 : largest <= 32768 ? 2 : 4;
    return OkStatus();
  }

  /// Level by level: parents come before their children, as they must; the nodes that most walks
  /// pass lie together; and whoever goes from last to first seldom waits for a child's answer.
  /// Returns the number of levels.
  size_t SortByLevel(std::span<int32_t> nodes) {
    std::ranges::sort(nodes);
    size_t levels = 0;
    for (const int32_t node : nodes) {  // until nodes are numbered, their place is their level
      const auto id = static_cast<size_t>(node);
      const uint32_t next = PlaceOf(node).local + 1;
      for (const int32_t child : {true_ids_[id], false_ids_[id]}) {
        if (child >= 0) PlaceOf(child).local = std::max(PlaceOf(child).local, next);
      }
      levels = std::max<size_t>(levels, next);
    }
    std::ranges::stable_sort(
        nodes, [&](int32_t a, int32_t b) { return PlaceOf(a).local < PlaceOf(b).local; });
    return levels;
  }

  template <typename F>
  void ForEachTest(F&& function) const {
    for (int32_t id : nodes_) {
      const TreeTests tests = TestsOfNode(id);
      for (int i = 0; i < tests.count; ++i) function(id, tests.tests[i]);
    }
  }

  /// Each feature's keys, ascending, once each.
  Status CollectKeys() {
    const int32_t last = features_.empty() ? -1 : *std::ranges::max_element(features_);
    if (last >= kMaxFeatures) return Unimplemented("trees read features beyond 2^20");
    feature_keys_.assign(static_cast<size_t>(last) + 2, 0);
    ForEachTest([&](int32_t id, const TreeTest&) { ++feature_keys_[Feature(id) + 1]; });
    for (size_t f = 1; f < feature_keys_.size(); ++f) feature_keys_[f] += feature_keys_[f - 1];
    keys_.resize(header_.num_nodes);
    std::vector<uint32_t> next(feature_keys_.begin(), feature_keys_.end() - 1);
    ForEachTest([&](int32_t id, const TreeTest& test) { keys_[next[Feature(id)]++] = test.key; });
    size_t end = 0;
    for (size_t f = 0; f + 1 < feature_keys_.size(); ++f) {
      const auto from = keys_.begin() + feature_keys_[f], to = keys_.begin() + feature_keys_[f + 1];
      std::sort(from, to);
      feature_keys_[f] = static_cast<uint32_t>(end);
      const auto unique = std::unique(from, to);
      end = static_cast<size_t>(
          std::move(from, unique, keys_.begin() + static_cast<ptrdiff_t>(end)) - keys_.begin());
    }
    feature_keys_.back() = static_cast<uint32_t>(end);
    keys_.resize(end);
    return OkStatus();
  }

  size_t Feature(int32_t node) const {
    return static_cast<size_t>(features_[static_cast<size_t>(node)]);
  }

  /// A test's table and its key's index there.
  std::pair<uint32_t, uint32_t> Find(int32_t node, float key) const {
    const size_t feature = Feature(node);
    const auto begin = keys_.begin() + feature_keys_[feature];
    const auto found = std::lower_bound(begin, keys_.begin() + feature_keys_[feature + 1], key);
    const auto index = static_cast<uint32_t>(found - begin);
    return {first_table_[feature] + index / kMaxTreeKeys, index % kMaxTreeKeys};
  }

  Status MakeTables() {
    size_t num_keys = 0;
    for (size_t f = 0; f + 1 < feature_keys_.size(); ++f) {
      first_table_.push_back(static_cast<uint32_t>(tables_.size()));
      for (uint32_t first = feature_keys_[f]; first < feature_keys_[f + 1]; first += kMaxTreeKeys) {
        const uint32_t count = std::min<uint32_t>(kMaxTreeKeys, feature_keys_[f + 1] - first);
        const uint32_t blocks = (count + kTreeKeyBlock - 1) / kTreeKeyBlock;
        tables_.push_back({.feature = static_cast<uint32_t>(f),
                           .column_nan_low = kNoTreeColumn,
                           .column_nan_high = kNoTreeColumn,
                           .first_key = static_cast<uint32_t>(num_keys),
                           .num_blocks = blocks});
        table_keys_.push_back({first, count});
        num_keys += static_cast<size_t>(blocks + (blocks > 1 ? 1 : 0)) * kTreeKeyBlock;
      }
    }
    ForEachTest([&](int32_t id, const TreeTest& test) {
      TreeKeyTable& table = tables_[Find(id, test.key).first];
      (test.nan_low ? table.column_nan_low : table.column_nan_high) = 0;
    });
    size_t columns = 0;
    for (TreeKeyTable& table : tables_) {
      for (uint32_t* column : {&table.column_nan_low, &table.column_nan_high}) {
        if (*column != kNoTreeColumn) *column = static_cast<uint32_t>(columns++);
      }
    }
    if (columns > kMaxColumns) return Unimplemented("there are too many different splits");
    header_.num_tables = static_cast<uint32_t>(tables_.size());
    header_.num_columns = static_cast<uint32_t>(std::max<size_t>(columns, 1));
    header_.num_keys = static_cast<uint32_t>(num_keys);
    return OkStatus();
  }

  void DescribeLeaves() {
    header_.double_weights = views_[kTreeLeafWeights].dtype == DataType::kFloat64 ? 1 : 0;
    bool simple = true;
    for (TreeSpan& tree : trees_) {
      for (uint32_t i = tree.first_leaf; simple && i < tree.first_leaf + tree.num_leaves; ++i) {
        const auto leaf = static_cast<size_t>(leaves_[i]);
        simple = offsets_[leaf + 1] == offsets_[leaf] + 1;
        if (!simple) break;
        const auto target = static_cast<uint32_t>(targets_[static_cast<size_t>(offsets_[leaf])]);
        if (i == tree.first_leaf) tree.target = target;
        simple = target == tree.target;
      }
    }
    header_.simple_leaves = simple ? 1 : 0;
  }

  void WriteKeys(float* to) const {
    std::fill_n(to, header_.num_keys, kInfinity);
    for (size_t t = 0; t < tables_.size(); ++t) {
      const TreeKeyTable& table = tables_[t];
      const auto [first, count] = table_keys_[t];
      float* keys = to + table.first_key;
      if (table.num_blocks > 1) {
        for (uint32_t last = kTreeKeyBlock - 1; last < count; last += kTreeKeyBlock) {
          keys[last / kTreeKeyBlock] = keys_[first + last];
        }
        keys += kTreeKeyBlock;
      }
      std::copy_n(keys_.begin() + first, count, keys);
    }
  }

  template <typename T>
  void WriteWeights(std::byte* to) const {
    const auto weights = views_[kTreeLeafWeights].as<const T>();
    for (int32_t leaf : leaves_) {
      const T weight = weights[static_cast<size_t>(offsets_[static_cast<size_t>(leaf)])];
      std::memcpy(to, &weight, sizeof weight);
      to += sizeof weight;
    }
  }

  template <typename TChild>
  void WriteNodes(std::byte* to) const {
    auto* packed = reinterpret_cast<TreeNode<TChild>*>(to);
    constexpr TChild kLeaf = TreeNode<TChild>::kLeaf;
    for (size_t i = 0; i < trees_.size(); ++i)
      packed[trees_[i].first_node] = {0, 0, {kLeaf, kLeaf}};
    uint32_t node = 0, tree = kNoTree;
    ForEachTest([&](int32_t id, const TreeTest& test) {
      const uint32_t first = trees_[PlaceOf(id).tree].first_node;
      node = PlaceOf(id).tree == tree ? node + 1 : first;
      tree = PlaceOf(id).tree;
      const auto child = [&](int32_t of) {
        if (of == kNextTest) return static_cast<TChild>(node + 1 - first);
        const uint32_t place = PlaceOf(of).local;
        return static_cast<TChild>(of < 0 ? place | kLeaf : place);
      };
      const auto [table, index] = Find(id, test.key);
      const uint32_t column =
          test.nan_low ? tables_[table].column_nan_low : tables_[table].column_nan_high;
      packed[node] = {.column = static_cast<uint16_t>(column),
                      .cut = static_cast<int8_t>(static_cast<int>(index) - 128),
                      .children = {child(test.low), child(test.high)}};
    });
  }

  static constexpr uint32_t kNoTree = ~uint32_t{0};
  struct Place {
    uint32_t tree = kNoTree, local = 0;
  };
  Place& PlaceOf(int32_t id) {
    return id < 0 ? leaf_places_[static_cast<size_t>(~id)] : node_places_[static_cast<size_t>(id)];
  }
  const Place& PlaceOf(int32_t id) const { return const_cast<Packer*>(this)->PlaceOf(id); }

  const Value& x_;
  std::array<TensorView, kNumTreeInputs> views_;
  std::span<const int32_t> features_, true_ids_, false_ids_, offsets_, targets_;
  std::span<const uint8_t> modes_, missing_true_;

  TreeHeader header_;
  std::vector<TreeSpan> trees_;
  std::vector<int32_t> nodes_, leaves_;  // of the constants, tree after tree
  std::vector<Place> node_places_, leaf_places_;
  std::vector<float> keys_;
  std::vector<uint32_t> feature_keys_;  // per feature, its first of keys_; then their number
  std::vector<TreeKeyTable> tables_;
  std::vector<std::pair<uint32_t, uint32_t>> table_keys_;  // per table, its first of keys_, count
  std::vector<uint32_t> first_table_;                      // per feature
};

}  // namespace

TreeParts::TreeParts(const TreeHeader& header) : counts(header) {
  constexpr size_t kAlignment = 64;
  const auto after = [](size_t offset, size_t count, size_t size) {
    return AlignUp(offset + count * size, kAlignment);  // counts are of 32 bits
  };
  tables = after(0, 1, sizeof(TreeHeader));
  keys = after(tables, header.num_tables, sizeof(TreeKeyTable));
  trees = after(keys, header.num_keys, sizeof(float));
  leaves = after(trees, size_t{header.num_trees} + kTreeLanes - 1, sizeof(TreeSpan));
  const bool wide = header.simple_leaves != 0 && header.double_weights != 0;
  nodes =
      after(leaves, header.num_leaves + kTreeLeafPadding, wide ? sizeof(double) : sizeof(float));
  const size_t node_bytes = 3 + 2 * size_t{header.child_bytes};
  bytes = after(nodes, header.num_nodes, node_bytes);
}

size_t MaxTreeColumns(const Node& node, std::span<const TensorView> inputs) {
  // A node makes two tests at most; a feature one table more than its keys fill.
  const auto tests = 2 * static_cast<size_t>(inputs[kTreeFeatureIds].shape[0]);
  const auto features = static_cast<size_t>(AttributeReader(node).Int("features", 0));
  return std::clamp<size_t>(std::min(tests, 2 * (features + tests / kMaxTreeKeys)), 1, kMaxColumns);
}

Status CanPackTrees(const Graph& graph, const Node& node) { return Packer(graph, node).Analyze(); }

size_t PackedTreesBytes(const Graph& graph, const Node& node) {
  Packer packer(graph, node);
  return packer.Analyze().ok() ? TreeParts(packer.header()).bytes : 0;
}

Result<std::vector<std::byte>> PackTrees(const Graph& graph, const Node& node) {
  Packer packer(graph, node);
  VERDICT_RETURN_IF_ERROR(packer.Analyze());
  return packer.Pack();
}

}  // namespace verdict::cpu
