#include "tools/same_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

constexpr char kText[] = R"(graph "g" {
  input %x: f32[N,2]
  const %w: f32[2,1] = [2, 3]
  %y: f32[N,1] = Gemm(%x, %w) {transB=0}
  output %y
})";

Graph With(const std::string& from, const std::string& to) {
  std::string text = kText;
  VERDICT_CHECK(text.find(from) != std::string::npos);
  text.replace(text.find(from), from.size(), to);
  return ParseGraph(text).value();
}

TEST(DifferenceOfGraphs, PassesOverWeights) {
  EXPECT_EQ(DifferenceOfGraphs(ParseGraph(kText).value(), With("[2, 3]", "[4, 5]")), "");
}

TEST(DifferenceOfGraphs, SaysWhatElseDiffers) {
  const Graph graph = ParseGraph(kText).value();
  EXPECT_THAT(DifferenceOfGraphs(graph, With("%x: f32[N,2]", "%x: f32[4,2]")),
              HasSubstr("its inputs: 'x' f32[4,2] instead of 'x' f32[N,2]"));
  EXPECT_THAT(DifferenceOfGraphs(graph, With("transB=0", "transB=1")),
              HasSubstr("node 0: Gemm with other attributes"));
  EXPECT_THAT(DifferenceOfGraphs(graph, With("Gemm(%x, %w) {transB=0}", "MatMul(%x, %w)")),
              HasSubstr("node 0: MatMul instead of Gemm"));
  EXPECT_THAT(DifferenceOfGraphs(
                  graph, With("const %w: f32[2,1] = [2, 3]", "const %w: f32[3,1] = [2, 3, 4]")),
              HasSubstr("node 0: Gemm of constant 'w' f32[3,1] instead of constant 'w' f32[2,1]"));
  EXPECT_THAT(DifferenceOfGraphs(graph, With("  output %y", "  output %y\n  output %x")),
              HasSubstr("its outputs: 2 values instead of 1"));
}

}  // namespace
}  // namespace verdict
