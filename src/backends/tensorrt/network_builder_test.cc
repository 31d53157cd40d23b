#include "backends/tensorrt/network_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/infer.h"

namespace verdict::tensorrt {
namespace {

using ::testing::ElementsAre;

/// The operators whose nodes read raw inputs, in the graph's order.
std::vector<std::string> RawOps(std::string_view text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  const Status inferred = InferShapes(*graph);
  EXPECT_TRUE(inferred.ok()) << inferred.ToString();
  const std::vector<bool> reads = ReadsRawInputs(*graph);
  std::vector<std::string> ops;
  for (size_t i = 0; i < reads.size(); ++i) {
    if (reads[i]) ops.push_back(graph->nodes[i].op);
  }
  return ops;
}

TEST(RawInputs, EndAtTheFirstProduct) {
  EXPECT_THAT(RawOps(R"(graph "g" {
    input %x: f32[N,4]
    const %mean: f32[4] = seed(1)
    const %w: f32[4,8] = seed(2)
    const %v: f32[8,1] = seed(3)
    %centred: f32[N,4] = Sub(%x, %mean)
    %a: f32[N,8] = MatMul(%centred, %w)
    %b: f32[N,8] = Relu(%a)
    %c: f32[N,1] = MatMul(%b, %v)
    output %c
  })"),
              ElementsAre("Sub", "MatMul"));
}

TEST(RawInputs, IndicesMakeNoEmbeddingRaw) {
  EXPECT_THAT(RawOps(R"(graph "g" {
    input %ids: i64[N]
    const %table: f32[10,4] = seed(1)
    const %w: f32[4,1] = seed(2)
    %row: f32[N,4] = Gather(%table, %ids) {axis=0}
    %y: f32[N,1] = MatMul(%row, %w)
    output %y
  })"),
              ElementsAre());
}

TEST(RawInputs, AnAmountBesideAnEmbeddingIsRaw) {
  EXPECT_THAT(RawOps(R"(graph "g" {
    input %cents: i64[N,2]
    input %ids: i64[N]
    const %table: f32[10,4] = seed(1)
    const %w: f32[6,1] = seed(2)
    %row: f32[N,4] = Gather(%table, %ids) {axis=0}
    %amount: f32[N,2] = Cast(%cents) {to=1}
    %both: f32[N,6] = Concat(%row, %amount) {axis=1}
    %y: f32[N,1] = MatMul(%both, %w)
    %s: f32[N,1] = Sigmoid(%y)
    output %s
  })"),
              ElementsAre("Cast", "Concat", "MatMul"));
}

}  // namespace
}  // namespace verdict::tensorrt
