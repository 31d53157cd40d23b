// Every tactic for trees gives the reference kernel's scores to the bit, whatever the trees.
#include "ops/tree_ensemble.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "backends/conformance/one_node_test.h"
#include "backends/cpu/tree_packing.h"
#include "ops/evaluate.h"
#include "ops/verify.h"

namespace verdict {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Ensemble {
  int trees = 10;
  int leaves = 8;  // of a tree, at most
  int features = 5;
  int targets = 1;
  std::string aggregate = "SUM";
  bool double_splits = false;
  bool double_weights = false;
  bool many_weights = false;  // a leaf adds to several targets, or to none
  bool base = false;
  int keys = 0;  // splits are of so many different values; 0: of any
  std::vector<uint8_t> modes = {kTreeLeq};
};

/// Numbers that are hard to compare.
constexpr double kOdd[] = {0.0,
                           -0.0,
                           kInfinity,
                           -kInfinity,
                           NAN,
                           0.1,
                           1e-45,
                           -1e-45,
                           1e-60,
                           -1e-60,
                           3.4028234663852886e38,
                           -3.4028234663852886e38,
                           1e300,
                           -1e300};

class Builder {
 public:
  Builder(const Ensemble& ensemble, uint32_t seed) : ensemble_(ensemble), random_(seed) {}

  Graph Build() {
    for (int tree = 0; tree < ensemble_.trees; ++tree) AddTree();
    Graph graph;
    Node node{.name = "trees", .op = "TreeEnsemble"};
    node.inputs.push_back(graph.AddInput(
        "x", DataType::kFloat32, Shape{graph.Symbol("N"), int64_t{ensemble_.features} + 1}));
    const auto add = [&](const auto& list) {
      using T = std::remove_cvref_t<decltype(list[0])>;
      node.inputs.push_back(graph.AddConstant(
          "c", Constant::Of<T>(Shape{static_cast<int64_t>(list.size())}, std::span(list))));
    };
    const auto add_real = [&](const std::vector<double>& list, bool is_double) {
      if (is_double) return add(list);
      add(std::vector<float>(list.begin(), list.end()));
    };
    add(feature_ids_);
    add_real(splits_, ensemble_.double_splits);
    add(modes_);
    add(true_ids_);
    add(false_ids_);
    add(missing_true_);
    add(roots_);
    add(leaf_offsets_);
    add(leaf_targets_);
    add_real(leaf_weights_, ensemble_.double_weights);
    std::vector<double> base;
    for (int i = 0; ensemble_.base && i < ensemble_.targets; ++i) base.push_back(Weight());
    add_real(base, ensemble_.double_weights);
    node.outputs = {
        graph.AddValue("y", DataType::kFloat32, Shape{graph.Symbol("N"), ensemble_.targets})};
    node.attributes["targets"] = int64_t{ensemble_.targets};
    node.attributes["features"] = int64_t{ensemble_.features};
    node.attributes["aggregate"] = ensemble_.aggregate;
    graph.outputs = node.outputs;
    graph.nodes.push_back(std::move(node));
    return graph;
  }

  /// Rows of splits, their neighbours and odd numbers.
  Constant Rows(int64_t rows) {
    const int64_t columns = ensemble_.features + 1;
    auto [constant, data] = Constant::Allocate(DataType::kFloat32, Shape{rows, columns});
    for (int64_t i = 0; i < rows * columns; ++i) {
      auto x = static_cast<float>(splits_.empty() ? 0.0 : splits_[Below(splits_.size())]);
      const size_t what = Below(6);
      if (what == 0) x = std::nextafter(x, kInfinity);
      if (what == 1) x = std::nextafter(x, -kInfinity);
      if (what == 2) x = static_cast<float>(kOdd[Below(std::size(kOdd))]);
      static_cast<float*>(data)[i] = x;
    }
    return constant;
  }

 private:
  size_t Below(size_t end) { return random_() % end; }
  double Weight() { return (static_cast<double>(random_() % 20001) - 10000.0) / 7777.0; }

  double Split() {
    if (ensemble_.keys == 0 && Below(8) == 0) return kOdd[Below(std::size(kOdd))];
    if (ensemble_.keys != 0) return 0.37 * static_cast<double>(Below(ensemble_.keys));
    return Weight();
  }

  int32_t AddLeaf() {
    if (leaf_offsets_.empty()) leaf_offsets_.push_back(0);
    const size_t count = ensemble_.many_weights ? Below(4) : 1;
    for (size_t i = 0; i < count; ++i) {
      leaf_targets_.push_back(static_cast<int32_t>(
          ensemble_.many_weights ? Below(ensemble_.targets) : roots_.size() % ensemble_.targets));
      leaf_weights_.push_back(Weight());
    }
    leaf_offsets_.push_back(static_cast<int32_t>(leaf_targets_.size()));
    return -static_cast<int32_t>(leaf_offsets_.size() - 2) - 1;
  }

  void AddTree() {
    const size_t leaves = 1 + Below(ensemble_.leaves);
    const auto first = static_cast<int32_t>(feature_ids_.size());
    std::vector<int32_t*> open;
    // Children are set through pointers into these.
    feature_ids_.reserve(feature_ids_.size() + leaves);
    std::vector<int32_t> children(2 * leaves);
    std::vector<size_t> places;
    for (size_t i = 0; i + 1 < leaves; ++i) {
      if (i != 0) {  // in a random open place
        const size_t at = Below(places.size());
        children[places[at]] = first + static_cast<int32_t>(i);
        places.erase(places.begin() + static_cast<std::ptrdiff_t>(at));
      }
      places.push_back(2 * i);
      places.push_back(2 * i + 1);
      feature_ids_.push_back(static_cast<int32_t>(Below(ensemble_.features)));
      splits_.push_back(Split());
      modes_.push_back(ensemble_.modes[Below(ensemble_.modes.size())]);
      missing_true_.push_back(static_cast<uint8_t>(Below(2)));
    }
    for (const size_t place : places) {
      // Now and then two places share a leaf, or a node further on, as categories do.
      const auto parent = static_cast<int32_t>(place / 2);
      const int32_t next = parent + 1 + static_cast<int32_t>(Below(leaves));
      if (Below(10) == 0 && next + 1 < static_cast<int32_t>(leaves)) {
        children[place] = first + next;
      } else {
        children[place] = AddLeaf();
      }
    }
    for (size_t i = 0; i + 1 < leaves; ++i) {
      true_ids_.push_back(children[2 * i]);
      false_ids_.push_back(children[2 * i + 1]);
    }
    roots_.push_back(leaves == 1 ? AddLeaf() : first);
  }

  Ensemble ensemble_;
  std::mt19937 random_;
  std::vector<int32_t> feature_ids_, true_ids_, false_ids_, roots_, leaf_offsets_, leaf_targets_;
  std::vector<uint8_t> modes_, missing_true_;
  std::vector<double> splits_, leaf_weights_;
};

const Tactic* TreeTactic(const Graph& graph) {
  for (const Tactic* tactic : CandidatesOf(graph)) {
    if (tactic->id == "cpu/tree_ensemble") return tactic;
  }
  return nullptr;
}

void ExpectSameBits(const Ensemble& ensemble, uint32_t seed, std::span<const int64_t> batches) {
  Builder builder(ensemble, seed);
  const Graph graph = builder.Build();
  ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
  const Tactic* tactic = TreeTactic(graph);
  ASSERT_NE(tactic, nullptr);
  for (const int64_t batch : batches) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " batch " + std::to_string(batch));
    const std::vector<Constant> free = {builder.Rows(batch)};
    const auto inputs = NodeInputs(graph, free);
    const auto want = EvaluateNode(graph.nodes[0], inputs);
    ASSERT_TRUE(want.ok()) << want.status().ToString();
    const auto got = RunTactic(*tactic, graph, inputs);
    const auto a = (*want)[0].view().as<const float>(), b = got[0].view().as<const float>();
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
          << "score " << i << ": " << a[i] << " and " << b[i];
    }
  }
}

constexpr int64_t kBatches[] = {1, 2, 7, 8, 9, 31, 32, 33, 64, 65, 130};

TEST(TreeTactic, IsTheReferenceToTheBit) {
  uint32_t seed = 0;
  for (const int leaves : {1, 2, 8, 64, 100, 300}) {
    for (const bool double_splits : {false, true}) {
      for (const bool double_weights : {false, true}) {
        Ensemble ensemble;
        ensemble.trees = 1 + static_cast<int>(seed * 7 % 45);
        ensemble.leaves = leaves;
        ensemble.features = leaves == 100 ? 60 : 5;
        ensemble.double_splits = double_splits;
        ensemble.double_weights = double_weights;
        ensemble.base = seed % 2 == 0;
        for (int i = 0; i < 3; ++i) ExpectSameBits(ensemble, ++seed, kBatches);
      }
    }
  }
}

TEST(TreeTactic, ComparesInEveryMode) {
  uint32_t seed = 1000;
  for (const bool double_splits : {false, true}) {
    for (const int leaves : {2, 20, 150}) {
      for (uint8_t mode = kTreeLeq; mode <= kTreeNeq; ++mode) {
        Ensemble ensemble{.leaves = leaves, .double_splits = double_splits, .modes = {mode}};
        ExpectSameBits(ensemble, ++seed, kBatches);
        ensemble.keys = 6;  // whose neighbours are keys too
        ExpectSameBits(ensemble, ++seed, kBatches);
      }
      const Ensemble mixed{
          .leaves = leaves, .double_splits = double_splits, .modes = {0, 1, 2, 3, 4, 5}};
      ExpectSameBits(mixed, ++seed, kBatches);
    }
  }
}

TEST(TreeTactic, AggregatesAndTargets) {
  uint32_t seed = 2000;
  for (const char* aggregate : {"SUM", "AVERAGE", "MIN", "MAX"}) {
    for (const int targets : {1, 3}) {
      for (const bool many : {false, true}) {
        const Ensemble ensemble{.trees = 23,
                                .leaves = 30,
                                .targets = targets,
                                .aggregate = aggregate,
                                .double_weights = targets == 3,
                                .many_weights = many,
                                .base = many};
        SCOPED_TRACE(aggregate);
        ExpectSameBits(ensemble, ++seed, kBatches);
      }
    }
  }
}

TEST(TreeTactic, AnyNumberOfKeysOfAFeature) {
  // 255 keys fill a table; a tree of more than 128 leaves, or 32,768, has wider nodes.
  constexpr int64_t kFew[] = {1, 9, 64, 300};
  uint32_t seed = 3000;
  for (const int keys : {15, 16, 17, 254, 255, 256, 511, 3000}) {
    ExpectSameBits({.trees = 100, .leaves = 120, .features = 1, .keys = keys}, ++seed, kFew);
    ExpectSameBits({.trees = 4, .leaves = 4000, .features = 2, .keys = keys}, ++seed, kFew);
  }
  ExpectSameBits({.trees = 4, .leaves = 90'000, .features = 50}, 1, kFew);
}

TEST(TreeTactic, TakesABatchOfNoRows) {
  constexpr int64_t kNone[] = {0};
  ExpectSameBits({}, 1, kNone);
}

TEST(TreeTactic, DeclinesWhatItCannotPack) {
  const auto why = [](const Graph& graph) {
    EXPECT_EQ(TreeTactic(graph), nullptr);
    return cpu::CanPackTrees(graph, graph.nodes[0]).message();
  };
  Graph wide = Builder({}, 1).Build();
  wide.value(wide.nodes[0].inputs[kTreeX]).dtype = DataType::kFloat64;
  EXPECT_EQ(why(wide), "X is not float32");

  Graph shared = Builder({.trees = 1}, 1).Build();
  const int32_t roots[] = {0, 0};
  shared.nodes[0].inputs[kTreeRoots] =
      shared.AddConstant("r", Constant::Of<int32_t>(Shape{2}, std::span(roots)));
  EXPECT_EQ(why(shared), "trees share nodes or leaves");

  Graph sparse = Builder({.trees = 1}, 1).Build();
  const ValueId ids = sparse.nodes[0].inputs[kTreeFeatureIds];
  const std::vector<int32_t> far(static_cast<size_t>(sparse.constant(ids)->shape[0]), 1 << 20);
  sparse.nodes[0].inputs[kTreeFeatureIds] =
      sparse.AddConstant("f", Constant::Of<int32_t>(sparse.constant(ids)->shape, std::span(far)));
  EXPECT_EQ(why(sparse), "trees read features beyond 2^20");
}

/// Whatever the bytes of a stored blob are, they are refused or safe to run.
TEST(TreeTactic, DamagedPackedBytesAreRefusedOrHarmless) {
  constexpr int kTries = 500;
  std::mt19937 random(5);
  for (const int leaves : {20, 300}) {
    for (const bool many : {false, true}) {
      Builder builder({.leaves = leaves, .targets = 2, .many_weights = many}, 4);
      const Graph graph = builder.Build();
      const Tactic& tactic = *TreeTactic(graph);
      const std::vector<std::byte> packed = *tactic.pack(graph, graph.nodes[0]);
      EXPECT_TRUE(tactic.check_packed(graph, graph.nodes[0], packed).ok());
      static std::vector<std::byte> bytes;  // a Tactic's functions hold nothing
      Tactic damaged = tactic;
      damaged.pack = [](const Graph&, const Node&) -> Result<std::vector<std::byte>> {
        return bytes;
      };
      const std::vector<Constant> rows = {builder.Rows(20)}, row = {builder.Rows(1)};
      int refused = 0;
      for (int i = 0; i < kTries; ++i) {
        bytes = packed;
        // The header and tables are hit as often as the far larger rest.
        const size_t end = i % 2 == 0 ? std::min<size_t>(bytes.size(), 512) : bytes.size();
        bytes[random() % end] ^= static_cast<std::byte>(1 + random() % 255);
        if (!tactic.check_packed(graph, graph.nodes[0], bytes).ok()) {
          ++refused;
          continue;
        }
        RunTactic(damaged, graph, NodeInputs(graph, rows));
        RunTactic(damaged, graph, NodeInputs(graph, row));
      }
      EXPECT_GT(refused, kTries / 10);
    }
  }
}

TEST(TreeTactic, PacksIntoBytes) {
  // 1,000 trees of 64 leaves: nodes of 5 bytes, where the node's tables take 18.
  const Graph graph =
      Builder({.trees = 1000, .leaves = 64, .features = 200, .keys = 200}, 1).Build();
  size_t tables = 0;
  for (size_t i = kTreeFeatureIds; i < kNumTreeInputs; ++i) {
    const TensorView view = graph.constant(graph.nodes[0].inputs[i])->view();
    tables += ByteSize(view.dtype, view.shape).value();
  }
  EXPECT_LT(cpu::PackedTreesBytes(graph, graph.nodes[0]) * 2, tables);
}

}  // namespace
}  // namespace verdict
