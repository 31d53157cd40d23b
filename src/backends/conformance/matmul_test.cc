// MatMul of two activations, and Softmax, against their reference kernels.
#include "backends/conformance/one_node_test.h"

namespace verdict {
namespace {

Graph OneNode(const std::string& op, std::span<const Constant> inputs, Attributes attributes = {}) {
  Graph graph;
  Node node{.name = "node", .op = op, .attributes = std::move(attributes)};
  for (const Constant& input : inputs) {
    const std::string name = "x" + std::to_string(node.inputs.size());
    node.inputs.push_back(graph.AddInput(name, input.dtype, input.shape));
  }
  node.outputs = {graph.AddValue("y", DataType::kFloat32, Shape{})};
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

int Check(const std::string& op, const std::vector<Constant>& inputs, Attributes attributes = {}) {
  const Graph graph = OneNode(op, inputs, std::move(attributes));
  return CheckAllTactics(graph, NodeInputs(graph, inputs));
}

TEST(MatMulConformance, Shapes) {
  for (int64_t m : {0, 1, 3, 7, 32}) {
    for (int64_t k : {0, 1, 5, 64, 200}) {
      for (int64_t n : {0, 1, 15, 16, 40, 130}) {
        SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n));
        ASSERT_EQ(Check("MatMul", {Random({2, m, k}, 1), Random({2, k, n}, 2)}), 2);
      }
    }
  }
}

TEST(MatMulConformance, StacksThatBroadcast) {
  const std::vector<std::pair<Shape, Shape>> pairs = {
      {{2, 3, 4, 5}, {2, 3, 5, 6}}, {{2, 3, 4, 5}, {5, 6}},       {{4, 5}, {2, 3, 5, 6}},
      {{2, 1, 4, 5}, {3, 5, 6}},    {{1, 3, 4, 5}, {2, 1, 5, 6}}, {{0, 4, 5}, {1, 5, 6}}};
  for (const auto& [a, b] : pairs) {
    EXPECT_EQ(Check("MatMul", {Random(a, 1), Random(b, 2)}), 2);
  }
}

TEST(MatMulConformance, DeclinesVectors) {
  EXPECT_EQ(Check("MatMul", {Random({5}, 1), Random({5, 6}, 2)}), 1) << "the reference kernel only";
}

TEST(SoftmaxConformance, Shapes) {
  for (int64_t count : {1, 2, 15, 16, 17, 128, 300}) {
    for (int64_t rows : {0, 1, 5, 16, 17, 40}) {
      SCOPED_TRACE(std::to_string(rows) + "x" + std::to_string(count));
      EXPECT_EQ(Check("Softmax", {Random({rows, count}, 1, 20.0F)}), 2);
    }
  }
  EXPECT_EQ(Check("Softmax", {Random({2, 3, 4, 5}, 1, 4.0F)}, {{"axis", int64_t{3}}}), 2);
}

TEST(SoftmaxConformance, LargeValuesInfinitiesAndNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float odd : {80.0F, 1e4F, -1e9F, 3e38F, -3e38F, kInfinity, -kInfinity, nan}) {
    SCOPED_TRACE(odd);
    std::vector<float> x(3 * 20, 0.25F);
    x[7] = x[19] = odd;
    std::fill(x.begin() + 40, x.end(), odd);
    EXPECT_EQ(Check("Softmax", {Constant::Of<float>(Shape{3, 20}, x)}), 2);
  }
}

TEST(SoftmaxConformance, DeclinesOtherAxes) {
  EXPECT_EQ(Check("Softmax", {Random({4, 5}, 1)}, {{"axis", int64_t{0}}}), 1);
}

}  // namespace
}  // namespace verdict
