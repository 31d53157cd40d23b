#include "tools/samples/sample_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using testing::HasSubstr;

/// history[T,N,2], ids[N,T]: the same sequence length in both.
SampleLayout Sequences() {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const Dim t = graph.Symbol("T");
  graph.AddInput("history", DataType::kFloat32, Shape{t, n, 2});
  graph.AddInput("ids", DataType::kInt64, Shape{n, t});
  graph.outputs.push_back(graph.AddValue("score", DataType::kFloat32, Shape{n}));
  return SampleLayout::Of(graph).value();
}

TEST(SampleLayout, LeavesTheBatchOutOfARow) {
  const SampleLayout layout = Sequences();
  EXPECT_EQ(layout.inputs()[0].axis, 1);
  EXPECT_EQ(layout.inputs()[0].row.rank(), 2);
  EXPECT_EQ(layout.inputs()[1].model_has, "int64 [N,T]");
  EXPECT_FALSE(layout.one_a_run());
}

TEST(SampleLayout, BindsALengthForAllInputs) {
  SampleLayout layout = Sequences();
  ASSERT_TRUE(layout.BindCount(0, 10).ok());
  EXPECT_EQ(layout.inputs()[1].row, (Shape{5}));
  EXPECT_TRUE(layout.BindCount(1, 5).ok());
  EXPECT_EQ(layout.BindCount(1, 6).message(),
            "a sample has 6 values, the model takes int64 [N,T], and the samples before have [5]; "
            "all samples of a file must be of the same length: pad them, or use files apart");
}

TEST(SampleLayout, RefusesCountsThatMakeNoLength) {
  SampleLayout layout = Sequences();
  EXPECT_THAT(layout.BindCount(0, 9).message(),
              HasSubstr("a sample has 9 values, the model takes float32 [T,N,2]"));
  EXPECT_FALSE(layout.BindCount(0, 0).ok());
  EXPECT_FALSE(layout.BindCount(0, 1).ok());
}

TEST(SampleLayout, ChecksShapes) {
  SampleLayout layout = Sequences();
  EXPECT_THAT(layout.BindExtents(0, std::vector<int64_t>{5}).message(),
              HasSubstr("a sample has the shape [5], the model takes float32 [T,N,2]"));
  EXPECT_FALSE(layout.BindExtents(0, std::vector<int64_t>{5, 3}).ok());
  EXPECT_FALSE(Sequences().BindExtents(0, std::vector<int64_t>{0, 2}).ok());
  EXPECT_TRUE(layout.BindExtents(0, std::vector<int64_t>{5, 2}).ok());
  EXPECT_FALSE(layout.BindExtents(1, std::vector<int64_t>{4}).ok());
}

TEST(SampleLayout, AsksForNestedValuesWhereMoreThanOneExtentIsOpen) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("x", DataType::kFloat32, Shape{n, graph.Symbol("A"), graph.Symbol("B")});
  SampleLayout layout = SampleLayout::Of(graph).value();
  EXPECT_THAT(layout.BindCount(0, 6).message(), HasSubstr("nest the values"));
  EXPECT_TRUE(layout.BindExtents(0, std::vector<int64_t>{2, 3}).ok());
}

TEST(SampleLayout, KnowsThatARunTakesOneSample) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{1, 3});
  SampleLayout layout = SampleLayout::Of(graph).value();
  EXPECT_TRUE(layout.one_a_run());
  EXPECT_EQ(layout.inputs()[0].row, (Shape{1, 3}));
  EXPECT_EQ(layout.BindCount(0, 4).message(),
            "a sample has 4 values, the model takes float32 [1,3] (one sample a run)");
}

}  // namespace
}  // namespace verdict
