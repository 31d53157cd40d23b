#include "quant/sample_axes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void AddOutput(Graph* graph, const Shape& shape) {
  graph->outputs.push_back(graph->AddValue("score", DataType::kFloat32, shape));
}

SampleAxes Axes(const Graph& graph) {
  auto axes = FindSampleAxes(graph);
  EXPECT_TRUE(axes.ok()) << axes.status().ToString();
  return axes.ok() ? *std::move(axes) : SampleAxes{};
}

TEST(SampleAxes, TakesTheSymbolThatAllInputsShare) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("history", DataType::kFloat32, Shape{graph.Symbol("T"), n, 4});
  graph.AddInput("now", DataType::kFloat32, Shape{n, 30});
  AddOutput(&graph, Shape{n, 1});
  EXPECT_THAT(Axes(graph).inputs, ElementsAre(1, 0));
  EXPECT_THAT(Axes(graph).outputs, ElementsAre(0));
}

TEST(SampleAxes, LetsTheOutputsChooseBetweenTimeAndBatch) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("T"), n, 4});
  EXPECT_THAT(Axes(graph).inputs, ElementsAre(0));
  AddOutput(&graph, Shape{n, 1});
  EXPECT_THAT(Axes(graph).inputs, ElementsAre(1));
}

TEST(SampleAxes, TakesTheFirstAxesWhereNothingHasAName) {
  Graph graph;
  graph.AddInput("a", DataType::kFloat32, Shape{graph.NewSymbol(), 2});
  graph.AddInput("b", DataType::kInt64, Shape{graph.NewSymbol()});
  AddOutput(&graph, Shape{graph.NewSymbol()});
  AddOutput(&graph, Shape{2});
  EXPECT_THAT(Axes(graph).inputs, ElementsAre(0, 0));
  EXPECT_THAT(Axes(graph).outputs, ElementsAre(0, -1));
}

TEST(SampleAxes, SeesThatARunTakesOneSample) {
  Graph fixed;
  fixed.AddInput("x", DataType::kFloat32, Shape{1, 30});
  EXPECT_THAT(Axes(fixed).inputs, IsEmpty());

  Graph sequence;  // its length is no batch: there is one score
  sequence.AddInput("x", DataType::kFloat32, Shape{1, sequence.Symbol("T"), 4});
  AddOutput(&sequence, Shape{1, 1});
  EXPECT_THAT(Axes(sequence).inputs, IsEmpty());
  EXPECT_THAT(Axes(sequence).outputs, IsEmpty());
}

TEST(SampleAxes, RefusesInputsThatDoNotVaryTogether) {
  EXPECT_EQ(FindSampleAxes(Graph()).status().code(), StatusCode::kInvalidArgument);
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("x", DataType::kFloat32, Shape{n, 30});
  graph.AddInput("limit", DataType::kFloat32, Shape{1});
  AddOutput(&graph, Shape{n});
  EXPECT_THAT(FindSampleAxes(graph).status().message(),
              HasSubstr("input 'limit' [1]: which extent is the batch?"));
}

}  // namespace
}  // namespace verdict
