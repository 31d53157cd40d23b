#include <limits>

#include "onnx/model_builder_test.h"

// Tree ensembles. Expected values of the two-class rules are those of ONNX Runtime 1.22.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;

/// A node of a tree: a leaf where the children are 0, otherwise a test of a feature.
struct TreeRow {
  int64_t tree;
  int64_t node;
  int64_t feature = 0;
  float split = 0;
  int64_t true_child = 0;
  int64_t false_child = 0;
  std::string mode = "LEAF";
  int64_t missing_true = 0;
};
struct WeightRow {
  int64_t tree;
  int64_t node;
  int64_t target;
  float weight;
};

using AttributeList = std::vector<onnx::AttributeProto>;

AttributeList TreeAttributes(const std::string& prefix, const std::vector<TreeRow>& rows,
                             const std::vector<WeightRow>& weights, AttributeList more) {
  std::vector<int64_t> trees, nodes, features, true_ids, false_ids, missing;
  std::vector<int64_t> weight_trees, weight_nodes, targets;
  std::vector<float> splits, values;
  std::vector<std::string> modes;
  for (const TreeRow& row : rows) {
    trees.push_back(row.tree);
    nodes.push_back(row.node);
    features.push_back(row.feature);
    splits.push_back(row.split);
    true_ids.push_back(row.true_child);
    false_ids.push_back(row.false_child);
    modes.push_back(row.mode);
    missing.push_back(row.missing_true);
  }
  for (const WeightRow& row : weights) {
    weight_trees.push_back(row.tree);
    weight_nodes.push_back(row.node);
    targets.push_back(row.target);
    values.push_back(row.weight);
  }
  AttributeList attributes = {IntsAttr("nodes_treeids", trees),
                              IntsAttr("nodes_nodeids", nodes),
                              IntsAttr("nodes_featureids", features),
                              FloatsAttr("nodes_values", splits),
                              IntsAttr("nodes_truenodeids", true_ids),
                              IntsAttr("nodes_falsenodeids", false_ids),
                              StringsAttr("nodes_modes", modes),
                              IntsAttr("nodes_missing_value_tracks_true", missing),
                              IntsAttr(prefix + "_treeids", weight_trees),
                              IntsAttr(prefix + "_nodeids", weight_nodes),
                              IntsAttr(prefix + "_ids", targets),
                              FloatsAttr(prefix + "_weights", values)};
  attributes.insert(attributes.end(), more.begin(), more.end());
  return attributes;
}

/// One split of feature 0 at 0.5 per pair: node 1 where x <= 0.5, node 2 elsewhere.
std::vector<TreeRow> Stumps(int64_t count) {
  std::vector<TreeRow> rows;
  for (int64_t tree = 0; tree < count; ++tree) {
    rows.push_back({tree, 0, 0, 0.5f, 1, 2, "BRANCH_LEQ"});
    rows.push_back({tree, 1});
    rows.push_back({tree, 2});
  }
  return rows;
}

AttributeList Labels(AttributeList more = {}) {
  more.push_back(IntsAttr("classlabels_int64s", {10, 20}));
  return more;
}

AttributeList OneTarget() { return {IntAttr("n_targets", 1)}; }

TestModel Classifier(const std::vector<TreeRow>& rows, const std::vector<WeightRow>& weights,
                     AttributeList more = Labels()) {
  TestModel model;
  model.Input("x", {"N", "1"});
  model.MlNode("TreeEnsembleClassifier", {"x"}, {"label", "scores"},
               TreeAttributes("class", rows, weights, std::move(more)));
  model.Output("label").Output("scores");
  return model;
}

TestModel Regressor(const std::vector<TreeRow>& rows, const std::vector<WeightRow>& weights,
                    AttributeList more = OneTarget()) {
  TestModel model;
  model.Input("x", {"N", "2"});
  model.MlNode("TreeEnsembleRegressor", {"x"}, {"y"},
               TreeAttributes("target", rows, weights, std::move(more)));
  model.Output("y");
  return model;
}

struct Scored {
  std::vector<int64_t> labels;
  std::vector<float> scores;
};

/// Labels and scores of x = 0 and x = 1.
Scored Classify(const TestModel& model) {
  const auto outputs = RunModel(model.Import(), {Tensor<float>({2, 1}, {0, 1})});
  if (outputs.size() != 2) return {};
  return {Values<int64_t>(outputs[0]), Values<float>(outputs[1])};
}

std::vector<float> Regress(const TestModel& model, const std::vector<float>& x) {
  const auto rows = static_cast<Dim>(x.size() / 2);
  const auto outputs = RunModel(model.Import(), {Tensor<float>({rows, 2}, x)});
  return outputs.empty() ? std::vector<float>{} : Values<float>(outputs[0]);
}

testing::Matcher<const std::vector<float>&> Near(const std::vector<float>& expected) {
  return Pointwise(FloatNear(1e-6f), expected);
}

TEST(TreeEnsembleClassifier, VotesForOneOfTwoClassesWithMixedWeights) {
  const std::vector<WeightRow> weights = {{0, 1, 0, -1}, {0, 2, 0, 2}};
  const auto logistic =
      Classify(Classifier(Stumps(1), weights, Labels({StringAttr("post_transform", "LOGISTIC")})));
  EXPECT_THAT(logistic.labels, ElementsAre(10, 20));
  EXPECT_THAT(logistic.scores, Near({0.7310586f, 0.2689414f, 0.1192030f, 0.8807970f}));
  const auto with_base = Classify(Classifier(
      Stumps(1), weights,
      Labels({StringAttr("post_transform", "LOGISTIC"), FloatsAttr("base_values", {0.5f})})));
  EXPECT_THAT(with_base.scores, Near({0.6224594f, 0.3775406f, 0.0758582f, 0.9241418f}));
  const auto raw = Classify(Classifier(Stumps(1), weights));
  EXPECT_THAT(raw.scores, ElementsAre(1, -1, -2, 2));
}

TEST(TreeEnsembleClassifier, VotesForOneOfTwoClassesWithProbabilities) {
  const auto first = Classify(Classifier(Stumps(1), {{0, 1, 0, 0.25f}, {0, 2, 0, 0.75f}}));
  EXPECT_THAT(first.labels, ElementsAre(10, 20));
  EXPECT_THAT(first.scores, ElementsAre(0.75f, 0.25f, 0.25f, 0.75f));
  const auto second = Classify(Classifier(Stumps(1), {{0, 1, 1, 0.25f}, {0, 2, 1, 0.75f}}));
  EXPECT_THAT(second.labels, ElementsAre(10, 20));
  EXPECT_THAT(second.scores, ElementsAre(0, 0.25f, 0, 0.75f));
}

TEST(TreeEnsembleClassifier, VotesForTheSecondClassOnly) {
  const auto scored = Classify(Classifier(Stumps(1), {{0, 1, 1, -1}, {0, 2, 1, 2}},
                                          Labels({StringAttr("post_transform", "LOGISTIC")})));
  EXPECT_THAT(scored.labels, ElementsAre(10, 20));
  EXPECT_THAT(scored.scores, Near({0.5f, 0.2689414f, 0.5f, 0.8807970f}));
}

TEST(TreeEnsembleClassifier, TakesTheTopClass) {
  const auto two = Classify(Classifier(
      Stumps(1), {{0, 1, 0, 0.75f}, {0, 1, 1, 0.25f}, {0, 2, 0, 0.25f}, {0, 2, 1, 0.75f}}));
  EXPECT_THAT(two.labels, ElementsAre(10, 20));
  const auto three = Classify(Classifier(
      Stumps(1),
      {{0, 1, 0, 1}, {0, 1, 1, 2}, {0, 1, 2, 3}, {0, 2, 0, 3}, {0, 2, 1, 2}, {0, 2, 2, 1}},
      {IntsAttr("classlabels_int64s", {10, 20, 30}), FloatsAttr("base_values", {0, 5, 0}),
       StringAttr("post_transform", "SOFTMAX")}));
  EXPECT_THAT(three.labels, ElementsAre(20, 20));
  EXPECT_THAT(three.scores, Near({0.0024283f, 0.9796292f, 0.0179425f,  //
                                  0.0179425f, 0.9796292f, 0.0024283f}));
}

TEST(TreeEnsembleClassifier, GivesLabelsAsText) {
  TestModel model = Classifier(Stumps(1), {{0, 1, 0, 0.25f}, {0, 2, 0, 0.75f}},
                               {StringsAttr("classlabels_strings", {"accept", "decline"})});
  const auto imported = model.Import();
  const auto outputs = RunModel(imported, {Tensor<float>({2, 1}, {0, 1})});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(Values<std::string_view>(outputs[0]), ElementsAre("accept", "decline"));
}

TEST(TreeEnsembleClassifier, RefusesLabelsAndBaseValuesThatDoNotFit) {
  const std::vector<WeightRow> weights = {{0, 1, 0, 1}, {0, 2, 0, 2}};
  ExpectError(Classifier(Stumps(1), weights, {}).Import(), kInvalid,
              {"node 'label' (TreeEnsembleClassifier)", "exactly one"});
  ExpectError(Classifier(Stumps(1), weights,
                         {IntsAttr("classlabels_int64s", {1, 2}),
                          StringsAttr("classlabels_strings", {"a", "b"})})
                  .Import(),
              kInvalid, {"exactly one"});
  ExpectError(Classifier(Stumps(1), weights, {IntsAttr("classlabels_int64s", {1})}).Import(),
              kUnimplemented, {"one class"});
  ExpectError(Classifier(Stumps(1), weights, Labels({FloatsAttr("base_values", {1, 2})})).Import(),
              kUnimplemented, {"2 base values"});
  ExpectError(Classifier(Stumps(1), {{0, 1, 7, 1}, {0, 2, 0, 1}}).Import(), kInvalid,
              {"target 7 of 2"});
}

TEST(TreeEnsembleRegressor, AggregatesTrees) {
  const std::vector<WeightRow> weights = {{0, 1, 0, 1}, {0, 2, 0, 2}, {1, 1, 0, 3}, {1, 2, 0, 6}};
  const auto with = [&](const std::string& aggregate) {
    return Regress(Regressor(Stumps(2), weights,
                             {IntAttr("n_targets", 1), FloatsAttr("base_values", {10}),
                              StringAttr("aggregate_function", aggregate)}),
                   {0, 0, 1, 0});
  };
  EXPECT_THAT(with("SUM"), ElementsAre(14, 18));
  EXPECT_THAT(with("AVERAGE"), ElementsAre(12, 14));
  EXPECT_THAT(with("MIN"), ElementsAre(11, 12));
  EXPECT_THAT(with("MAX"), ElementsAre(13, 16));
}

TEST(TreeEnsembleRegressor, TransformsTargets) {
  const auto scores =
      Regress(Regressor(Stumps(1), {{0, 1, 0, 1}, {0, 1, 1, 3}, {0, 2, 0, 0.2f}},
                        {IntAttr("n_targets", 2), StringAttr("post_transform", "SOFTMAX")}),
              {0, 0, 1, 0});
  EXPECT_THAT(scores, Near({0.1192029f, 0.8807971f, 0.5498340f, 0.4501660f}));
}

TEST(TreeEnsembleRegressor, SendsMissingValuesWhereTheNodeSays) {
  std::vector<TreeRow> rows = Stumps(2);
  rows[3].missing_true = 1;
  const std::vector<WeightRow> weights = {{0, 1, 0, 1}, {0, 2, 0, 2}, {1, 1, 0, 30}, {1, 2, 0, 60}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Regress(Regressor(rows, weights), {nan, 0}), ElementsAre(32));
}

// Children before parents, ids with gaps, trees interleaved: the file's order means nothing but
// which node of a tree comes first.
TEST(TreeEnsembleRegressor, RenumbersNodes) {
  const std::vector<TreeRow> rows = {{7, 90, 0, 0.5f, 5, 70, "BRANCH_LT"}, {3, 1}, {7, 5}, {7, 3},
                                     {7, 70, 1, 0.5f, 3, 4, "BRANCH_GT"},  {7, 4}};
  const std::vector<WeightRow> weights = {{7, 4, 0, 1}, {7, 3, 0, 2}, {7, 5, 0, 3}, {3, 1, 0, 10}};
  const auto model = Regressor(rows, weights);
  EXPECT_THAT(Regress(model, {0, 0, 1, 0, 1, 1}), ElementsAre(13, 11, 12));
}

// LightGBM writes a set of categories as a chain of equalities that share a leaf, or an inner node.
TEST(TreeEnsembleRegressor, SharesNodes) {
  const std::vector<TreeRow> rows = {{0, 0, 0, 3, 2, 1, "BRANCH_EQ"},
                                     {0, 1, 0, 5, 2, 3, "BRANCH_EQ"},
                                     {0, 2, 1, 0.5f, 4, 3, "BRANCH_LEQ"},
                                     {0, 3},
                                     {0, 4}};
  const auto model = Regressor(rows, {{0, 3, 0, 1}, {0, 4, 0, 2}});
  EXPECT_THAT(Regress(model, {3, 0, 5, 0, 5, 1, 4, 0}), ElementsAre(2, 2, 1, 1));
}

TEST(TreeEnsembleRegressor, IgnoresWeightsOfInnerNodes) {
  EXPECT_THAT(Regress(Regressor(Stumps(1), {{0, 0, 0, 100}, {0, 1, 0, 1}, {0, 2, 0, 2}}), {0, 0}),
              ElementsAre(1));
}

TEST(TreeEnsembleRegressor, RefusesMalformedTrees) {
  const std::vector<WeightRow> weights = {{0, 1, 0, 1}, {0, 2, 0, 2}};
  const auto refused = [&](std::vector<TreeRow> rows, const std::string& part) {
    ExpectError(Regressor(rows, weights).Import(), kInvalid,
                {"node 'y' (TreeEnsembleRegressor)", part});
  };
  auto rows = Stumps(1);
  rows[0].true_child = 9;
  refused(rows, "node 9 of tree 0 does not exist");
  rows = Stumps(1);
  rows[2].node = 1;
  refused(rows, "node 1 of tree 0 comes twice");
  rows = Stumps(1);
  rows[0].mode = "BRANCH_MAYBE";
  refused(rows, "BRANCH_MAYBE");
  rows = Stumps(1);
  rows[0].feature = -1;
  refused(rows, "feature -1");
  rows = Stumps(1);
  rows[0].true_child = 0;
  refused(rows, "cycle");
  rows = Stumps(1);
  rows[1] = {0, 1, 0, 0, 3, 3, "BRANCH_LEQ"};
  rows.push_back({0, 3, 0, 0, 1, 1, "BRANCH_LEQ"});
  refused(rows, "cycle");
  rows = Stumps(1);
  rows.push_back({0, 3, 0, 0, 1, 2, "BRANCH_LEQ"});
  refused(rows, "1 nodes of the trees cannot be reached");
  refused({}, "no tree nodes");
  ExpectError(Regressor(Stumps(1), {{0, 5, 0, 1}}).Import(), kInvalid,
              {"node 5 of tree 0 does not exist"});
  ExpectError(Regressor(Stumps(1), weights, {IntAttr("n_targets", 0)}).Import(), kInvalid, {});
  ExpectError(
      Regressor(Stumps(1), weights, {IntAttr("n_targets", 1), FloatsAttr("base_values", {1, 2})})
          .Import(),
      kInvalid, {"2 base values for 1 scores"});
  TestModel short_list = Regressor(Stumps(1), weights);
  short_list.graph().mutable_node(0)->mutable_attribute(2)->mutable_ints()->RemoveLast();
  ExpectError(short_list.Import(), kInvalid, {"'nodes_featureids' has 2 elements"});
}

// A tree as deep as it has nodes must not use the stack.
TEST(TreeEnsembleRegressor, WalksDeepTrees) {
  constexpr int64_t kDepth = 200000;
  std::vector<TreeRow> rows;
  for (int64_t i = 0; i < kDepth; ++i) {
    rows.push_back({0, i, 0, static_cast<float>(i), kDepth, i + 1, "BRANCH_LEQ"});
  }
  rows.back().false_child = kDepth;
  rows.push_back({0, kDepth});
  EXPECT_TRUE(Regressor(rows, {{0, kDepth, 0, 1}}).Import().ok());
}

TEST(TreeEnsembleRegressor, CastsIntegersAndKeepsDoubles) {
  const std::vector<WeightRow> weights = {{0, 1, 0, 1}, {0, 2, 0, 2}};
  TestModel ints = Regressor(Stumps(1), weights);
  TestModel::Declare(*ints.graph().mutable_input(0), "x", {"N", "2"}, onnx::TensorProto::INT64);
  ints.graph()
      .mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim()
      ->DeleteSubrange(0, 2);
  const auto from_ints = RunModel(ints.Import(), {Tensor<int64_t>({2, 2}, {0, 0, 1, 0})});
  ASSERT_EQ(from_ints.size(), 1U);
  EXPECT_THAT(Values<float>(from_ints[0]), ElementsAre(1, 2));

  // The double next above 0.5 must go right, which as a float it would not.
  TestModel doubles;
  auto attributes = TreeAttributes("target", Stumps(1), weights, {IntAttr("n_targets", 1)});
  attributes[3] = TensorAttr("nodes_values_as_tensor", DoubleTensor("", {3}, {0.5, 0, 0}));
  doubles.Input("x", {"N", "1"}, onnx::TensorProto::DOUBLE);
  doubles.MlNode("TreeEnsembleRegressor", {"x"}, {"y"}, attributes).Output("y");
  const auto from_doubles =
      RunModel(doubles.Import(), {Tensor<double>({2, 1}, {0.5, 0.5 + 1e-15})});
  ASSERT_EQ(from_doubles.size(), 1U);
  EXPECT_THAT(Values<float>(from_doubles[0]), ElementsAre(1, 2));
}

// ONNX Runtime adds in f64 as soon as a threshold is f64.
TEST(TreeEnsembleRegressor, AddsInDoubleWhereThresholdsAreDouble) {
  const auto weight_type = [](bool double_splits) {
    auto attributes =
        TreeAttributes("target", Stumps(1), {{0, 1, 0, 1}, {0, 2, 0, 2}}, OneTarget());
    if (double_splits) {
      attributes[3] = TensorAttr("nodes_values_as_tensor", DoubleTensor("", {3}, {0.5, 0, 0}));
    }
    TestModel model;
    model.Input("x", {"N", "1"}).MlNode("TreeEnsembleRegressor", {"x"}, {"y"}, attributes);
    model.Output("y");
    const auto imported = model.Import();
    if (!imported.ok()) return DataType::kUndefined;
    return imported->graph.value(imported->graph.nodes[0].inputs[10]).dtype;
  };
  EXPECT_EQ(weight_type(false), DataType::kFloat32);
  EXPECT_EQ(weight_type(true), DataType::kFloat64);
}

TEST(TreeEnsembleRegressor, TakesAVectorAsOneRow) {
  TestModel model = Regressor(Stumps(1), {{0, 1, 0, 1}, {0, 2, 0, 2}});
  model.graph()
      .mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim()
      ->DeleteSubrange(0, 1);
  const auto outputs = RunModel(model.Import(), {Tensor<float>({2}, {1, 0})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].shape, Shape({1, 1}));
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(2));
}

onnx::TensorProto Modes(const std::vector<int32_t>& modes) {
  onnx::TensorProto tensor;
  tensor.set_data_type(onnx::TensorProto::UINT8);
  tensor.add_dims(static_cast<int64_t>(modes.size()));
  tensor.mutable_int32_data()->Add(modes.begin(), modes.end());
  return tensor;
}

/// x0 <= 0.5 ? leaf 0 : (x1 < 0.5 ? leaf 1 : leaf 2)
AttributeList Version5(bool as_double, AttributeList more = {}) {
  const auto numbers = [&](const char* name, const std::vector<double>& values) {
    const auto size = static_cast<int64_t>(values.size());
    return TensorAttr(name, as_double ? DoubleTensor("", {size}, values)
                                      : FloatTensor("", {size}, {values.begin(), values.end()}));
  };
  AttributeList attributes = {IntAttr("n_targets", 1),
                              IntsAttr("nodes_featureids", {0, 1}),
                              TensorAttr("nodes_modes", Modes({0, 1})),
                              numbers("nodes_splits", {0.5, 0.5}),
                              IntsAttr("nodes_truenodeids", {0, 1}),
                              IntsAttr("nodes_trueleafs", {1, 1}),
                              IntsAttr("nodes_falsenodeids", {1, 2}),
                              IntsAttr("nodes_falseleafs", {0, 1}),
                              IntsAttr("tree_roots", {0}),
                              IntsAttr("leaf_targetids", {0, 0, 0}),
                              numbers("leaf_weights", {1, 2, 3})};
  attributes.insert(attributes.end(), more.begin(), more.end());
  return attributes;
}

TestModel Ensemble5(int32_t type, const AttributeList& attributes) {
  TestModel model(17, 5);
  model.Input("x", {"N", "2"}, type).MlNode("TreeEnsemble", {"x"}, {"y"}, attributes).Output("y");
  return model;
}

TEST(TreeEnsemble5, ReadsNodesAndLeaves) {
  const auto outputs = RunModel(Ensemble5(onnx::TensorProto::FLOAT, Version5(false)).Import(),
                                {Tensor<float>({3, 2}, {0, 0, 1, 0, 1, 1})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(1, 2, 3));
}

TEST(TreeEnsemble5, GivesDoublesForDoubles) {
  const auto outputs = RunModel(Ensemble5(onnx::TensorProto::DOUBLE, Version5(true)).Import(),
                                {Tensor<double>({3, 2}, {0, 0, 1, 0, 1, 1})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<double>(outputs[0]), ElementsAre(1, 2, 3));
}

TEST(TreeEnsemble5, RefusesMalformedTrees) {
  const auto refused = [](size_t index, const onnx::AttributeProto& attribute, StatusCode code,
                          const std::string& part) {
    auto attributes = Version5(false);
    attributes[index] = attribute;
    ExpectError(Ensemble5(onnx::TensorProto::FLOAT, attributes).Import(), code,
                {"node 'y' (TreeEnsemble)", part});
  };
  refused(2, TensorAttr("nodes_modes", Modes({6, 1})), kUnimplemented, "BRANCH_MEMBER");
  refused(2, TensorAttr("nodes_modes", Modes({9, 1})), kInvalid, "unknown mode 9");
  refused(4, IntsAttr("nodes_truenodeids", {3, 1}), kInvalid, "leaf 3, which does not exist");
  refused(4, IntsAttr("nodes_truenodeids", {-1, 1}), kInvalid, "negative child");
  refused(6, IntsAttr("nodes_falsenodeids", {0, 2}), kInvalid, "cycle");
  refused(6, IntsAttr("nodes_falsenodeids", {7, 2}), kInvalid, "node 7, which does not exist");
  refused(8, IntsAttr("tree_roots", {-1}), kInvalid, "tree_roots");
  refused(8, IntsAttr("tree_roots", {1}), kInvalid, "cannot be reached");
  refused(8, IntsAttr("tree_roots", {1, 0}), kInvalid, "share a node");
  refused(9, IntsAttr("leaf_targetids", {0, 0}), kInvalid, "different lengths");
  refused(1, IntsAttr("nodes_featureids", {0}), kInvalid, "different lengths");
  ExpectError(
      Ensemble5(onnx::TensorProto::FLOAT, Version5(false, {IntAttr("post_transform", 9)})).Import(),
      kInvalid, {"'post_transform' is 9"});
}

}  // namespace
}  // namespace verdict
