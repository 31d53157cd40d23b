#include "ir/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace verdict {
namespace {

using testing::ElementsAre;

Constant Floats(const Shape& shape, const std::vector<float>& values) {
  return Constant::Of<float>(shape, values);
}

/// y = Relu(x·w); z = x·w + x·w.
struct SmallGraph {
  Graph graph;
  ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), 2});
  ValueId w = graph.AddConstant("w", Floats({2, 2}, {1, 2, 3, 4}));
  ValueId h = graph.AddValue("h", DataType::kFloat32, Shape{graph.Symbol("N"), 2});
  ValueId y = graph.AddValue("y", DataType::kFloat32, Shape{graph.Symbol("N"), 2});
  ValueId z = graph.AddValue("z", DataType::kFloat32, Shape{graph.Symbol("N"), 2});

  SmallGraph() {
    graph.nodes.push_back({.name = "mm", .op = "MatMul", .inputs = {x, w}, .outputs = {h}});
    graph.nodes.push_back({.name = "relu", .op = "Relu", .inputs = {h}, .outputs = {y}});
    graph.nodes.push_back({.name = "add", .op = "Add", .inputs = {h, h}, .outputs = {z}});
    graph.outputs = {y, z};
  }
};

TEST(Constant, KeepsACopyOfNumbersAlignedTo64Bytes) {
  std::vector<float> values = {1, 2, 3, 4};
  const Constant constant = Floats({2, 2}, values);
  values.assign(4, 0);
  EXPECT_THAT(constant.view().as<const float>(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(constant.data) % 64, 0U);
  EXPECT_EQ(constant.shape, (Shape{2, 2}));
}

TEST(Constant, MayBeEmpty) {
  const Constant constant = Floats({0, 3}, {});
  EXPECT_NE(constant.data, nullptr);
  EXPECT_EQ(constant.view().size(), 0);
}

TEST(Constant, OwnsItsStringsAsLongAsACopyLives) {
  Constant copy;
  {
    const Constant strings =
        Constant::OfStrings({3}, {"", "short", "longer than a small-string buffer holds"});
    copy = strings;
  }
  EXPECT_THAT(copy.view().as<const std::string_view>(),
              ElementsAre("", "short", "longer than a small-string buffer holds"));
}

TEST(ConstantDeathTest, RefusesAShapeThatDoesNotFitTheValues) {
  EXPECT_DEATH(Floats({3}, {1, 2}), "internal check failed");
  EXPECT_DEATH(Constant::OfStrings({1}, {"a", "b"}), "internal check failed");
}

TEST(Graph, GivesEveryValueAUniqueName) {
  Graph graph;
  const ValueId first = graph.AddValue("x", DataType::kFloat32, {});
  const ValueId second = graph.AddValue("x", DataType::kFloat32, {});
  const ValueId unnamed = graph.AddValue("", DataType::kFloat32, {});
  EXPECT_EQ(graph.value(first).name, "x");
  EXPECT_NE(graph.value(second).name, "x");
  EXPECT_NE(graph.value(unnamed).name, "");
  for (const ValueId id : {first, second, unnamed}) {
    EXPECT_EQ(graph.FindValue(graph.value(id).name), id);
  }
  EXPECT_EQ(graph.FindValue("nothing"), kNoValue);
}

TEST(Graph, AGeneratedNameAvoidsOnesAlreadyTaken) {
  Graph graph;
  graph.AddValue("x", DataType::kFloat32, {});
  graph.AddValue("x.2", DataType::kFloat32, {});
  const ValueId third = graph.AddValue("x", DataType::kFloat32, {});
  EXPECT_NE(graph.value(third).name, "x");
  EXPECT_NE(graph.value(third).name, "x.2");
}

TEST(Graph, RenamesAValue) {
  Graph graph;
  const ValueId a = graph.AddValue("a", DataType::kFloat32, {});
  const ValueId b = graph.AddValue("b", DataType::kFloat32, {});
  graph.RenameValue(a, "c");
  EXPECT_EQ(graph.FindValue("a"), kNoValue);
  EXPECT_EQ(graph.FindValue("c"), a);
  graph.RenameValue(a, "c");
  EXPECT_EQ(graph.value(a).name, "c");
  graph.RenameValue(a, "b");
  EXPECT_EQ(graph.FindValue("b"), b) << "the name was taken";
  EXPECT_EQ(graph.FindValue(graph.value(a).name), a);
}

TEST(Graph, ASymbolIsOneNegativeNumberPerName) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const Dim t = graph.Symbol("T");
  EXPECT_TRUE(IsSymbol(n) && IsSymbol(t));
  EXPECT_NE(n, t);
  EXPECT_EQ(graph.Symbol("N"), n);
  EXPECT_EQ(graph.num_symbols(), 2);
  EXPECT_EQ(graph.ShapeText(Shape{n, 16, t}), "[N,16,T]");
}

TEST(Graph, ANewSymbolEndsWhateverNamesAreTaken) {
  Graph graph;
  for (const char* name : {"s4", "s4_", "s5", "s6"}) graph.Symbol(name);
  EXPECT_EQ(graph.SymbolName(graph.NewSymbol()), "s7");
}

TEST(Graph, ANewSymbolIsLikeNoOther) {
  Graph graph;
  graph.Symbol("s1");
  graph.Symbol("s1_");
  const Dim first = graph.NewSymbol();
  const Dim second = graph.NewSymbol();
  EXPECT_NE(first, second);
  EXPECT_NE(graph.SymbolName(first), graph.SymbolName(second));
  EXPECT_NE(first, graph.Symbol("s1"));
  EXPECT_EQ(graph.num_symbols(), 4);
}

TEST(GraphDeathTest, RefusesASymbolOfNobody) {
  const Graph graph;
  EXPECT_DEATH(static_cast<void>(graph.SymbolName(-1)), "internal check failed");
  EXPECT_DEATH(static_cast<void>(graph.SymbolName(3)), "internal check failed");
}

TEST(Graph, KnowsItsConstants) {
  const SmallGraph small;
  ASSERT_NE(small.graph.constant(small.w), nullptr);
  EXPECT_EQ(small.graph.value(small.w).shape, (Shape{2, 2}));
  EXPECT_EQ(small.graph.constant(small.x), nullptr);
  EXPECT_EQ(small.graph.constant(kNoValue), nullptr);
  EXPECT_THAT(small.graph.inputs, ElementsAre(small.x));
}

TEST(Graph, FindsProducersAndCountsUses) {
  SmallGraph small;
  small.graph.nodes[1].inputs.push_back(kNoValue);
  // Per value, in the order x, w, h, y, z.
  EXPECT_THAT(small.graph.Producers(), ElementsAre(-1, -1, 0, 1, 2));
  EXPECT_THAT(small.graph.UseCounts(), ElementsAre(1, 1, 3, 1, 1));
}

TEST(Graph, ReplacesUsesInNodesAndOutputs) {
  SmallGraph small;
  small.graph.ReplaceUses(small.h, small.x);
  EXPECT_THAT(small.graph.nodes[1].inputs, ElementsAre(small.x));
  EXPECT_THAT(small.graph.nodes[2].inputs, ElementsAre(small.x, small.x));
  EXPECT_THAT(small.graph.nodes[0].outputs, ElementsAre(small.h)) << "who makes it stays";
  small.graph.ReplaceUses(small.z, small.y);
  EXPECT_THAT(small.graph.outputs, ElementsAre(small.y, small.y));
}

TEST(Graph, DescribesANodeForMessages) {
  const SmallGraph small;
  EXPECT_EQ(Graph::Describe(small.graph.nodes[0]), "node 'mm' (MatMul)");
}

}  // namespace
}  // namespace verdict
