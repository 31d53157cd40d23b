#include "ops/tree_ensemble.h"

#include <gmock/gmock.h>

#include <cmath>

#include "ops/op_test.h"
#include "ops/verify.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The tables of an ensemble, to be changed at will by a test.
template <typename TSplit = float, typename TWeight = float>
struct Trees {
  std::vector<int32_t> feature_ids;
  std::vector<TSplit> splits;
  std::vector<uint8_t> modes;
  std::vector<int32_t> true_ids;
  std::vector<int32_t> false_ids;
  std::vector<uint8_t> missing_true;
  std::vector<int32_t> roots;
  std::vector<int32_t> leaf_offsets;
  std::vector<int32_t> leaf_targets;
  std::vector<TWeight> leaf_weights;
  std::vector<TWeight> base_values;
  int64_t targets = 1;
  int64_t features = 2;
  std::string aggregate = "SUM";

  Node node() const {
    return MakeNode("TreeEnsemble", kNumTreeInputs,
                    {{"targets", targets}, {"features", features}, {"aggregate", aggregate}});
  }
  template <typename T>
  static Constant List(const std::vector<T>& values) {
    return Tensor<T>({static_cast<int64_t>(values.size())}, values);
  }
  std::vector<Constant> Inputs(Constant x) const {
    return {std::move(x),       List(feature_ids),  List(splits),       List(modes),
            List(true_ids),     List(false_ids),    List(missing_true), List(roots),
            List(leaf_offsets), List(leaf_targets), List(leaf_weights), List(base_values)};
  }
  Status Verify(bool constant_tables = true) const {
    Graph graph;
    Node tree = node();
    tree.inputs.clear();
    for (const Constant& input : Inputs(Tensor<float>({1, 2}, {0, 0}))) {
      const bool constant = constant_tables && !tree.inputs.empty();
      tree.inputs.push_back(constant ? graph.AddConstant("c", input)
                                     : graph.AddInput("x", input.dtype, input.shape));
    }
    tree.outputs = {graph.AddValue("y", DataType::kFloat32, {1, targets})};
    graph.outputs = tree.outputs;
    graph.nodes.push_back(tree);
    return VerifyGraph(graph);
  }
};

template <typename TTrees>
std::vector<float> RunTrees(const TTrees& trees, Constant x) {
  EXPECT_TRUE(trees.Verify().ok()) << trees.Verify().ToString();
  auto outputs = RunOp(trees.node(), trees.Inputs(std::move(x)));
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? Values<float>((*outputs)[0]) : std::vector<float>();
}

/// Tree 0: x0 <= 1 ? (x1 <= 2 ? 10 : 20) : 30. Tree 1: a single leaf of 5.
Trees<> TwoTrees() {
  Trees<> trees;
  trees.feature_ids = {0, 1};
  trees.splits = {1, 2};
  trees.modes = {kTreeLeq, kTreeLeq};
  trees.true_ids = {1, -1};
  trees.false_ids = {-3, -2};
  trees.missing_true = {0, 1};
  trees.roots = {0, -4};
  trees.leaf_offsets = {0, 1, 2, 3, 4};
  trees.leaf_targets = {0, 0, 0, 0};
  trees.leaf_weights = {10, 20, 30, 5};
  return trees;
}

TEST(TreeEnsemble, WalksEachTreeAndSums) {
  EXPECT_THAT(RunTrees(TwoTrees(), Tensor<float>({3, 2}, {1, 2, 0, 3, 1.5F, 0})),
              ElementsAre(15, 25, 35));
}

TEST(TreeEnsemble, IgnoresFurtherFeatures) {
  EXPECT_THAT(RunTrees(TwoTrees(), Tensor<float>({2, 3}, {1, 2, 9, 1.5F, 0, 9})),
              ElementsAre(15, 35));
}

TEST(TreeEnsemble, SendsMissingValuesWhereTheNodeSays) {
  // The root sends NaN to the false branch, its child to the true branch.
  EXPECT_THAT(RunTrees(TwoTrees(), Tensor<float>({2, 2}, {NAN, 0, 0, NAN})), ElementsAre(35, 15));
}

TEST(TreeEnsemble, ComparesInEveryMode) {
  Trees<> trees;
  trees.feature_ids = {0};
  trees.splits = {1};
  trees.true_ids = {-1};
  trees.false_ids = {-2};
  trees.missing_true = {0};
  trees.roots = {0};
  trees.leaf_offsets = {0, 1, 2};
  trees.leaf_targets = {0, 0};
  trees.leaf_weights = {1, 0};
  const Constant x = Tensor<float>({4, 2}, {0, 0, 1, 0, 2, 0, NAN, 0});
  const std::vector<std::pair<uint8_t, std::vector<float>>> cases = {
      {kTreeLeq, {1, 1, 0, 0}}, {kTreeLess, {1, 0, 0, 0}},    {kTreeGeq, {0, 1, 1, 0}},
      {kTreeEq, {0, 1, 0, 0}},  {kTreeGreater, {0, 0, 1, 0}}, {kTreeNeq, {1, 0, 1, 1}}};
  for (const auto& [mode, expected] : cases) {
    trees.modes = {mode};
    EXPECT_EQ(RunTrees(trees, x), expected) << int{mode};
  }
}

TEST(TreeEnsemble, ComparesFloatWithDoubleAsDouble) {
  const double split = 0.1;  // below 0.1F
  Trees<double, double> trees;
  trees.feature_ids = {0};
  trees.splits = {split};
  trees.modes = {kTreeLeq};
  trees.true_ids = {-1};
  trees.false_ids = {-2};
  trees.missing_true = {0};
  trees.roots = {0};
  trees.leaf_offsets = {0, 1, 2};
  trees.leaf_targets = {0, 0};
  trees.leaf_weights = {1, 2};
  EXPECT_THAT(RunTrees(trees, Tensor<float>({1, 2}, {0.1F, 0})), ElementsAre(2));
  EXPECT_THAT(RunTrees(trees, Tensor<double>({1, 2}, {0.1, 0})), ElementsAre(1));
}

TEST(TreeEnsemble, SumsInTheTypeOfTheWeights) {
  const auto run = [](auto weight_type) {
    using T = decltype(weight_type);
    Trees<float, T> trees;
    trees.roots = {-1, -2, -3};
    trees.leaf_offsets = {0, 1, 2, 3};
    trees.leaf_targets = {0, 0, 0};
    trees.leaf_weights = {T(1e8), T(1), T(-1e8)};
    return RunTrees(trees, Tensor<float>({1, 2}, {0, 0}));
  };
  EXPECT_THAT(run(double{}), ElementsAre(1));
  EXPECT_THAT(run(float{}), ElementsAre(0));
}

TEST(TreeEnsemble, AggregatesManyTargetsALeaf) {
  Trees<> trees;
  trees.targets = 3;
  trees.roots = {-1, -2};
  trees.leaf_offsets = {0, 2, 3};
  trees.leaf_targets = {0, 1, 1};
  trees.leaf_weights = {1, -4, 6};
  trees.base_values = {100, 200, 300};
  const auto run = [&](const char* aggregate) {
    trees.aggregate = aggregate;
    return RunTrees(trees, Tensor<float>({1, 2}, {0, 0}));
  };
  EXPECT_THAT(run("SUM"), ElementsAre(101, 202, 300));
  EXPECT_THAT(run("AVERAGE"), ElementsAre(100.5F, 201, 300));
  EXPECT_THAT(run("MIN"), ElementsAre(101, 196, 300));
  EXPECT_THAT(run("MAX"), ElementsAre(101, 206, 300));
}

TEST(TreeEnsemble, RefusesInputsThatDoNotFit) {
  const auto message = [](const Trees<>& trees, Constant x) {
    return RunOp(trees.node(), trees.Inputs(std::move(x))).status().message();
  };
  EXPECT_THAT(message(TwoTrees(), Tensor<float>({1, 1}, {0})),
              HasSubstr("input 0 (X) has shape [1,1], needs 2 columns or more"));
  Trees<> trees = TwoTrees();
  trees.aggregate = "MEAN";
  EXPECT_THAT(message(trees, Tensor<float>({1, 2}, {0, 0})), HasSubstr("unknown aggregate 'MEAN'"));
}

TEST(TreeEnsembleVerify, AcceptsSoundTables) { EXPECT_TRUE(TwoTrees().Verify().ok()); }

TEST(TreeEnsembleVerify, RefusesTablesThatAreNotConstant) {
  EXPECT_THAT(TwoTrees().Verify(false).message(), HasSubstr("(feature_ids) must be a constant"));
}

TEST(TreeEnsembleVerify, RefusesEveryUnsoundTable) {
  struct Case {
    const char* message;
    void (*harm)(Trees<>&);
  };
  const Case cases[] = {
      {"feature_ids[1] is 2, out of range", [](auto& t) { t.feature_ids[1] = 2; }},
      {"feature_ids[0] is -1, out of range", [](auto& t) { t.feature_ids[0] = -1; }},
      {"modes[0] is 6", [](auto& t) { t.modes[0] = 6; }},
      {"true_ids[1] is 1, needs a leaf or a node after node 1", [](auto& t) { t.true_ids[1] = 1; }},
      {"true_ids[1] is 0, needs a leaf or a node after node 1", [](auto& t) { t.true_ids[1] = 0; }},
      {"true_ids[0] is 2,", [](auto& t) { t.true_ids[0] = 2; }},
      {"false_ids[0] is -5,", [](auto& t) { t.false_ids[0] = -5; }},
      {"false_ids[0] is -2147483648,", [](auto& t) { t.false_ids[0] = INT32_MIN; }},
      {"roots[1] is -5, out of range", [](auto& t) { t.roots[1] = -5; }},
      {"roots[0] is 2, out of range", [](auto& t) { t.roots[0] = 2; }},
      {"has no trees", [](auto& t) { t.roots.clear(); }},
      {"leaf_offsets[1] is 0: offsets must ascend",
       [](auto& t) {
         t.leaf_offsets = {1, 0, 2, 3, 4};
       }},
      {"leaf_offsets[0] is -1: offsets must ascend", [](auto& t) { t.leaf_offsets[0] = -1; }},
      {"leaf_offsets[4] is 5: offsets must ascend", [](auto& t) { t.leaf_offsets[4] = 5; }},
      {"leaf_offsets is empty", [](auto& t) { t.leaf_offsets.clear(); }},
      {"leaf_targets[2] is 1, out of range", [](auto& t) { t.leaf_targets[2] = 1; }},
      {"leaf_targets[2] is -1, out of range", [](auto& t) { t.leaf_targets[2] = -1; }},
      {"input 10 (leaf_weights) has shape [3], needs [4]",
       [](auto& t) { t.leaf_weights.pop_back(); }},
      {"input 2 (splits) has shape [1], needs [2]", [](auto& t) { t.splits.pop_back(); }},
      {"input 6 (missing_true) has shape [3], needs [2]",
       [](auto& t) { t.missing_true.push_back(0); }},
      {"input 11 (base_values) has shape [2], needs [1]",
       [](auto& t) {
         t.base_values = {1, 2};
       }},
      {"needs 1 or more targets", [](auto& t) { t.targets = int64_t{1} << 40; }},
      {"needs 1 or more targets", [](auto& t) { t.targets = 0; }},
  };
  for (const Case& c : cases) {
    Trees<> trees = TwoTrees();
    c.harm(trees);
    EXPECT_THAT(trees.Verify().message(), HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace verdict
