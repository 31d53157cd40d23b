#include "ops/infer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

Graph Infer(const std::string& text) {
  Graph graph = ParseGraph(text).value();
  const Status status = InferShapes(graph);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return graph;
}

std::string TypeOf(const Graph& graph, std::string_view name) {
  return graph.ShapeText(graph.value(graph.FindValue(name)).shape);
}

// How exporters write "keep the batch, flatten the rest into heads".
constexpr char kSplitHeads[] = R"(graph "g" {
  input %x: f32[N,T,16]
  const %zero: i64[] = [0]
  const %one: i64[] = [1]
  const %axes: i64[1] = [0]
  const %heads: i64[2] = [4, 4]
  %s = Shape(%x)
  %n = Gather(%s, %zero)
  %t = Gather(%s, %one)
  %n1 = Unsqueeze(%n, %axes)
  %t1 = Unsqueeze(%t, %axes)
  %target = Concat(%n1, %t1, %heads) {axis=0}
  %y = Reshape(%x, %target)
  output %y
})";

TEST(InferShapes, SymbolsSurviveShapeArithmetic) {
  EXPECT_EQ(TypeOf(Infer(kSplitHeads), "y"), "[N,T,4,4]");
}

// A head's width, computed from the model's.
TEST(InferShapes, FixedExtentsBesideSymbolsAreNumbers) {
  const Graph graph = Infer(R"(graph "g" {
    input %x: f32[N,16]
    const %one: i64[1] = [1]
    const %four: i64[1] = [4]
    %s = Shape(%x)
    %width = Gather(%s, %one)
    %size = Div(%width, %four)
    %n = Shape(%x) {end=1}
    %target = Concat(%n, %four, %size) {axis=0}
    %y = Reshape(%x, %target)
    output %y
  })");
  EXPECT_EQ(TypeOf(graph, "y"), "[N,4,4]");
}

// How PyTorch cuts a table of positions to the length of the sequence.
TEST(InferShapes, ASymbolAsABoundOrIndexIsUnknownNotWrong) {
  const Graph graph = Infer(R"(graph "g" {
    input %x: f32[N,T,4]
    const %table: f32[1,64,4] = seed(1)
    const %zero: i64[1] = [0]
    const %one: i64[1] = [1]
    const %two: i64[1] = [2]
    const %sizes: i64[3] = [2, 3, 4]
    %s = Shape(%x)
    %t = Slice(%s, %one, %two)
    %cut = Slice(%table, %zero, %t, %one)
    %y = Add(%x, %cut)
    %n = Slice(%s, %zero, %one)
    %picked = Gather(%sizes, %n)
    %z = ConstantOfShape(%picked)
    output %y
    output %z
  })");
  const Shape& cut = graph.value(graph.FindValue("cut")).shape;
  EXPECT_TRUE(IsSymbol(cut[1])) << graph.ShapeText(cut);
  const Shape& z = graph.value(graph.FindValue("z")).shape;
  ASSERT_EQ(z.rank(), 1);
  EXPECT_TRUE(IsSymbol(z[0])) << graph.ShapeText(z);
  const Shape input{2, 3, 4};
  const auto views = ResolveShapes(graph, std::span(&input, 1));
  ASSERT_TRUE(views.ok()) << views.status().ToString();
  EXPECT_EQ((*views)[static_cast<size_t>(graph.FindValue("y"))].shape, (Shape{2, 3, 4}));
  EXPECT_EQ((*views)[static_cast<size_t>(graph.FindValue("z"))].shape, (Shape{4}));
}

// PyTorch joins the batch with the heads, and takes them apart again.
TEST(InferShapes, AProductOfExtentsLeavesTheRestOfATargetKnown) {
  const Graph graph = Infer(R"(graph "g" {
    input %x: f32[N,T,16]
    const %one: i64[1] = [1]
    const %four: i64[1] = [4]
    const %minus: i64[1] = [-4]
    %n = Shape(%x) {end=1}
    %t = Shape(%x) {start=1, end=2}
    %joined = Mul(%n, %four)
    %target = Concat(%t, %joined, %four) {axis=0}
    %y = Reshape(%x, %target)
    %same = Mul(%n, %one)
    %same_target = Concat(%same, %t, %four, %four) {axis=0}
    %z = Reshape(%x, %same_target)
    %negative = Mul(%n, %minus)
    %w = ConstantOfShape(%negative)
    output %y
    output %z
    output %w
  })");
  const Shape& y = graph.value(graph.FindValue("y")).shape;
  EXPECT_EQ(graph.SymbolName(y[0]), "T");
  EXPECT_TRUE(IsSymbol(y[1]) && graph.SymbolName(y[1]) != "N") << graph.ShapeText(y);
  EXPECT_EQ(y[2], 4);
  EXPECT_EQ(TypeOf(graph, "z"), "[N,T,4,4]");
  const Shape input{3, 7, 16};
  EXPECT_FALSE(ResolveShapes(graph, std::span(&input, 1)).ok()) << "negative extents";
}

TEST(InferShapes, ASumOfSymbolsIsUnknownNotWrong) {
  const Graph graph = Infer(R"(graph "g" {
    input %x: f32[N,16]
    const %one: i64[2] = [1, 0]
    %s = Shape(%x)
    %m = Add(%s, %one)
    %y = ConstantOfShape(%m)
    output %y
  })");
  const Shape& shape = graph.value(graph.FindValue("y")).shape;
  ASSERT_EQ(shape.rank(), 2);
  EXPECT_TRUE(IsSymbol(shape[0]));
  EXPECT_NE(graph.SymbolName(shape[0]), "N");
}

// Whoever verifies a hostile graph walks it: what is computed on the way must be cheap.
TEST(InferShapes, ComputesNothingOfManyElements) {
  const Graph graph = Infer(R"(graph "g" {
    const %a: f32[200000] = seed(1)
    const %axes: i64[1] = [0]
    %quadratic = Einsum(%a, %a) {equation="a,b->"}
    %sum = ReduceSum(%a, %axes) {keepdims=0}
    %y = Add(%quadratic, %sum)
    output %y
  })");
  EXPECT_EQ(TypeOf(graph, "y"), "[]");
}

TEST(ResolveShapes, ComputesTargetsForStaticInputs) {
  const Graph graph = Infer(kSplitHeads);
  const Shape input{3, 7, 16};
  const auto views = ResolveShapes(graph, std::span(&input, 1));
  ASSERT_TRUE(views.ok()) << views.status().ToString();
  EXPECT_EQ((*views)[static_cast<size_t>(graph.FindValue("y"))].shape, (Shape{3, 7, 4, 4}));
}

TEST(ResolveShapes, RefusesShapesThatDependOnTheData) {
  const Graph graph = Infer(R"(graph "g" {
    input %x: f32[N,16]
    input %target: i64[2]
    %y = Reshape(%x, %target)
    output %y
  })");
  const std::vector<Shape> inputs = {Shape{2, 16}, Shape{2}};
  const auto views = ResolveShapes(graph, inputs);
  ASSERT_FALSE(views.ok());
  EXPECT_EQ(views.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(views.status().message(), HasSubstr("'y' depends on the data"));
}

TEST(InferShapes, NamesTheNodeThatDoesNotFit) {
  Graph graph = ParseGraph(R"(graph "g" {
    input %x: f32[N,3]
    const %w: f32[4,2] = fill(1)
    %y = MatMul(%x, %w)
    output %y
  })")
                    .value();
  const Status status = InferShapes(graph);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("node 'y' (MatMul)"));
}

}  // namespace
}  // namespace verdict
