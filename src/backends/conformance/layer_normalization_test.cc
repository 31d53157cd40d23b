// LayerNormalization's tactics against the reference kernel.
#include "backends/conformance/one_node_test.h"

namespace verdict {
namespace {

Graph LayerNormGraph(const Shape& x, const Shape& scale, bool bias, int64_t axis = -1) {
  Graph graph;
  Node node{.name = "norm", .op = "LayerNormalization"};
  node.inputs = {graph.AddInput("x", DataType::kFloat32, x),
                 graph.AddConstant("scale", Random(scale, 2))};
  if (bias) node.inputs.push_back(graph.AddConstant("bias", Random(scale, 3)));
  node.outputs = {graph.AddValue("y", DataType::kFloat32, Shape{})};
  node.attributes = {{"axis", axis}, {"epsilon", 1e-5F}};
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

int Check(const Graph& graph, const Constant& x) {
  return CheckAllTactics(graph, NodeInputs(graph, std::span(&x, 1)));
}

TEST(LayerNormalizationConformance, Shapes) {
  for (int64_t size : {2, 3, 8, 15, 16, 17, 33, 128, 300}) {
    for (int64_t rows : {0, 1, 2, 7}) {
      SCOPED_TRACE(std::to_string(rows) + "x" + std::to_string(size));
      const Graph graph = LayerNormGraph({rows, size}, {size}, size % 2 == 0);
      EXPECT_EQ(Check(graph, Random({rows, size}, 7, 3.0F)), 2);
    }
  }
  const Graph two_axes = LayerNormGraph({4, 3, 5}, {3, 5}, true, 1);
  EXPECT_EQ(Check(two_axes, Random({4, 3, 5}, 7)), 2);
}

TEST(LayerNormalizationConformance, LargeMeansAndConstantRows) {
  for (int64_t size : {16, 100, 128}) {
    const Graph graph = LayerNormGraph({3, size}, {size}, true);
    for (float mean : {0.1F, 1000.1F, -3e4F}) {
      SCOPED_TRACE(mean);
      const Constant x = Random({3, size}, 7);
      float* values = const_cast<float*>(x.view().as<const float>().data());
      for (int64_t i = 0; i < 2 * size; ++i) values[i] += mean;
      std::fill_n(values + 2 * size, size, mean);
      EXPECT_EQ(Check(graph, x), 2);
    }
  }
}

TEST(LayerNormalizationConformance, WhatHasNoSquareInFloat) {
  const Graph graph = LayerNormGraph({1, 20}, {20}, true);
  for (float odd : {1e15F, 1e25F, 3e38F, 1e-30F, kInfinity, -kInfinity,
                    std::numeric_limits<float>::quiet_NaN()}) {
    SCOPED_TRACE(odd);
    std::vector<float> x(20, 0.0F);
    x[3] = odd;
    x[17] = -odd;
    EXPECT_EQ(Check(graph, Constant::Of<float>(Shape{1, 20}, x)), 2);
  }
}

TEST(LayerNormalizationConformance, RowsDoNotDependOnTheirBatch) {
  const Graph graph = LayerNormGraph({9, 77}, {77}, true);
  const Constant batch = Random({9, 77}, 7);
  for (const Tactic* tactic : CandidatesOf(graph)) {
    const auto whole = RunTactic(*tactic, graph, NodeInputs(graph, std::span(&batch, 1)));
    for (int64_t row = 0; row < 9; ++row) {
      Constant single = batch;
      single.shape = Shape{1, 77};
      single.data = static_cast<const float*>(batch.data) + row * 77;
      const auto alone = RunTactic(*tactic, graph, NodeInputs(graph, std::span(&single, 1)));
      EXPECT_EQ(std::memcmp(alone[0].data, static_cast<const float*>(whole[0].data) + row * 77,
                            77 * sizeof(float)),
                0)
          << tactic->id << " row " << row;
    }
  }
}

TEST(LayerNormalizationConformance, DeclinesWhatItDoesNotCompute) {
  const Constant x = Random({2, 5}, 7);
  EXPECT_EQ(Check(LayerNormGraph({2, 5}, {1}, true), x), 1) << "the reference kernel only";
  Graph statistics = LayerNormGraph({2, 5}, {5}, true);
  statistics.nodes[0].outputs.push_back(statistics.AddValue("mean", DataType::kFloat32, Shape{}));
  EXPECT_EQ(Check(statistics, x), 1);
}

}  // namespace
}  // namespace verdict
