#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/tensorrt/network_builder.h"
#include "ir/text.h"
#include "ops/infer.h"

namespace verdict::tensorrt {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Graph Parse(std::string_view text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  const Status inferred = InferShapes(*graph);
  EXPECT_TRUE(inferred.ok()) << inferred.ToString();
  return std::move(*graph);
}

/// The reason why the last node is not supported; empty if it is.
std::string Reason(const Graph& graph) { return SupportsNode(graph, graph.nodes.back()).message(); }

void ExpectAllSupported(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    EXPECT_EQ(SupportsNode(graph, node).ToString(), "OK") << Graph::Describe(node);
  }
}

TEST(IndexRanges, IndicesThatAreAnInputLieWithinTheTable) {
  const Graph graph = Parse(R"(graph "g" {
    input %ids: i64[N,4]
    const %table: f32[10,2] = seed(1)
    %y: f32[N,4,2] = Gather(%table, %ids) {axis=0}
    output %y
  })");
  EXPECT_EQ(Reason(graph), "");
  const auto ranges = IndexRanges(graph);
  ASSERT_EQ(ranges.size(), 1);
  EXPECT_EQ(ranges[0].input, 0);
  EXPECT_EQ(ranges[0].least, 0);
  EXPECT_EQ(ranges[0].greatest, 9);
  EXPECT_EQ(ranges[0].axis, -1);
}

TEST(IndexRanges, TheSmallerOfTwoTablesCounts) {
  const Graph graph = Parse(R"(graph "g" {
    input %ids: i64[N]
    const %a: f32[10,2] = seed(1)
    const %b: f32[7,2] = seed(2)
    %x: f32[N,2] = Gather(%a, %ids) {axis=0}
    %y: f32[N,2] = Gather(%b, %ids) {axis=0}
    output %x
    output %y
  })");
  const auto ranges = IndexRanges(graph);
  ASSERT_EQ(ranges.size(), 1);
  EXPECT_EQ(ranges[0].greatest, 6);
}

TEST(IndexRanges, ColumnsHaveTablesOfTheirOwn) {
  const Graph graph = Parse(R"(graph "g" {
    input %ids: i32[N,3]
    const %one: i64[] = [-2]
    const %from: i64[1] = [2]
    const %to: i64[1] = [3]
    const %axis: i64[1] = [1]
    const %a: f32[10,2] = seed(1)
    const %b: f32[7,2] = seed(2)
    %wide: i64[N,3] = Cast(%ids) {to=7}
    %middle: i64[N] = Gather(%wide, %one) {axis=1}
    %last: i64[N,1] = Slice(%wide, %from, %to, %axis)
    %flat: i64[N] = Squeeze(%last, %axis)
    %x: f32[N,2] = Gather(%a, %middle) {axis=0}
    %y: f32[N,2] = Gather(%b, %flat) {axis=0}
    output %x
    output %y
  })");
  ExpectAllSupported(graph);
  const auto ranges = IndexRanges(graph);
  ASSERT_EQ(ranges.size(), 2);
  EXPECT_EQ(ranges[0].axis, 1);
  EXPECT_EQ(ranges[0].begin, 1);
  EXPECT_EQ(ranges[0].end, 2);
  EXPECT_EQ(ranges[0].greatest, 9);
  EXPECT_EQ(ranges[1].begin, 2);
  EXPECT_EQ(ranges[1].end, 3);
  EXPECT_EQ(ranges[1].greatest, 6);
}

TEST(IndexRanges, OffsetsOfColumnsShiftWhatTheyMustLieIn) {
  const Graph graph = Parse(R"(graph "g" {
    input %ids: i64[N,2]
    const %offsets: i64[1,2] = [0, 6]
    const %table: f32[10,2] = seed(1)
    %rows: i64[N,2] = Add(%ids, %offsets)
    %y: f32[N,2,2] = Gather(%table, %rows) {axis=0}
    output %y
  })");
  ExpectAllSupported(graph);
  const auto ranges = IndexRanges(graph);
  ASSERT_EQ(ranges.size(), 2);
  EXPECT_EQ(ranges[0].begin, 0);
  EXPECT_EQ(ranges[0].least, 0);
  EXPECT_EQ(ranges[0].greatest, 9);
  EXPECT_EQ(ranges[1].begin, 1);
  EXPECT_EQ(ranges[1].least, -6);
  EXPECT_EQ(ranges[1].greatest, 3);
}

TEST(IndexRanges, ComputedIndicesAreNotSupported) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[N,5]
    const %table: f32[5,2] = seed(1)
    %best: i64[N] = ArgMax(%x) {axis=1, keepdims=0}
    %y: f32[N,2] = Gather(%table, %best) {axis=0}
    output %y
  })");
  EXPECT_THAT(Reason(graph), HasSubstr("computed from data"));
  EXPECT_THAT(IndexRanges(graph), IsEmpty());
}

TEST(IndexRanges, AConstantAmongTheIndicesIsCheckedAtOnce) {
  const auto with_first = [](std::string_view first) {
    return Parse(R"(graph "g" {
      input %ids: i64[1,4]
      const %first: i64[1,1] = [)" +
                 std::string(first) + R"(]
      const %table: f32[10,2] = seed(1)
      %all: i64[1,5] = Concat(%first, %ids) {axis=1}
      %y: f32[1,5,2] = Gather(%table, %all) {axis=0}
      output %y
    })");
  };
  EXPECT_EQ(Reason(with_first("9")), "");
  EXPECT_EQ(IndexRanges(with_first("9")).size(), 1);
  EXPECT_THAT(Reason(with_first("10")), HasSubstr("out of range"));
  EXPECT_THAT(Reason(with_first("-1")), HasSubstr("out of range"));
}

TEST(IndexRanges, OfAnUnknownExtentTheFirstAndTheLastElementExist) {
  const auto with_index = [](std::string_view index) {
    return Parse(R"(graph "g" {
      input %x: f32[N,T,3]
      const %index: i64[] = [)" +
                 std::string(index) + R"(]
      %y: f32[N,3] = Gather(%x, %index) {axis=1}
      output %y
    })");
  };
  EXPECT_EQ(Reason(with_index("0")), "");
  EXPECT_EQ(Reason(with_index("-1")), "");
  EXPECT_THAT(Reason(with_index("1")), HasSubstr("out of range"));
  EXPECT_THAT(Reason(with_index("-2")), HasSubstr("out of range"));
}

TEST(IndexRanges, LengthsOfSamplesLieWithinTheSteps) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[5,N,3]
    input %lengths: i32[N]
    const %w: f32[1,8,3] = seed(1)
    const %r: f32[1,8,2] = seed(2)
    %y: f32[5,1,N,2] = LSTM(%x, %w, %r, _, %lengths) {hidden_size=2}
    output %y
  })");
  EXPECT_EQ(Reason(graph), "");
  const auto ranges = IndexRanges(graph);
  ASSERT_EQ(ranges.size(), 1);
  EXPECT_EQ(ranges[0].input, 1);
  EXPECT_EQ(ranges[0].least, 0);
  EXPECT_EQ(ranges[0].greatest, 5);
}

}  // namespace
}  // namespace verdict::tensorrt
