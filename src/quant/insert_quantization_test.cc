#include "quant/insert_quantization.h"

#include <gmock/gmock.h>

#include <cmath>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "ops/verify.h"
#include "quant/three_layers_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const TensorRanges kRanges = {{"x", {.threshold = 1.5F}}, {"a", {.threshold = 4.0F}}};

TEST(InsertQuantization, PutsQAndDqOnceBeforeEachTensorAndKeepsTheValues) {
  Graph graph = ThreeLayers();
  const auto layers = FindQuantizableLayers(graph);
  ASSERT_EQ(layers.size(), 3u);
  const std::vector<float> want = Evaluated(graph);
  ASSERT_TRUE(InsertQuantization(graph, layers, kRanges).ok());
  ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
  EXPECT_THAT(Ops(graph),
              ElementsAre("DequantizeLinear", "QuantizeLinear", "DequantizeLinear", "FusedGemm",
                          "DequantizeLinear", "FusedGemm", "DequantizeLinear", "QuantizeLinear",
                          "DequantizeLinear", "FusedGemm", "Add"));
  const std::vector<float> got = Evaluated(graph);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 0.05) << i;
}

TEST(InsertQuantization, LeavesOtherLayersAlone) {
  Graph graph = ThreeLayers();
  const std::vector<QuantizableLayer> layers = {FindQuantizableLayers(graph)[2]};
  ASSERT_TRUE(InsertQuantization(graph, layers, kRanges).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("FusedGemm", "FusedGemm", "DequantizeLinear",
                                      "QuantizeLinear", "DequantizeLinear", "FusedGemm", "Add"));
}

TEST(InsertQuantization, EachColumnHasItsScale) {
  Graph graph = ThreeLayers("127, 0, -254, 0, 1, 0");
  ASSERT_TRUE(InsertQuantization(graph, FindQuantizableLayers(graph), kRanges).ok());
  const auto scales = graph.constant(graph.FindValue("w0.scale"))->view().as<const float>();
  EXPECT_THAT(scales, ElementsAre(2.0F, 1.0F)) << "1 for a column of zeros";
  const auto values = graph.constant(graph.FindValue("w0.int8"))->view().as<const int8_t>();
  // 127 / 2 and 1 / 2 lie in the middle: to the even one.
  EXPECT_THAT(values, ElementsAre(64, 0, -127, 0, 0, 0));
}

TEST(InsertQuantization, TheBiasTakesWhatRoundingDoesToTheMean) {
  Graph graph = ThreeLayers("127, 0, -254, 0, 1, 0");
  TensorRanges ranges = kRanges;
  ranges["x"].means = {1.0, 0.0, 2.0};
  ASSERT_TRUE(InsertQuantization(graph, FindQuantizableLayers(graph), ranges).ok());
  const Node& gemm = graph.nodes[3];
  ASSERT_EQ(gemm.op, "FusedGemm");
  // 1 * (127 - 128) + 2 * (1 - 0) more than 0.5.
  EXPECT_THAT(graph.constant(gemm.inputs[2])->view().as<const float>(), ElementsAre(1.5F, -0.5F));
}

TEST(InsertQuantization, ARecurrentLayerHasNarrowWeightsAndNoRange) {
  auto graph = ParseGraph(R"(graph "g" {
  input %x: f32[T,N,2]
  const %w: f32[1,3,2] = [0.5, -1, 0.25, 1, -0.125, 2]
  const %r: f32[1,3,1] = [1, -0.5, 0.25]
  %y = GRU(%x, %w, %r) {hidden_size=1, linear_before_reset=1}
  output %y
})");
  ASSERT_TRUE(graph.ok() && InferShapes(*graph).ok());
  const Graph before = *graph;
  ASSERT_TRUE(InsertQuantization(*graph, FindQuantizableLayers(*graph), {}).ok());
  ASSERT_TRUE(VerifyGraph(*graph).ok()) << VerifyGraph(*graph).ToString();
  EXPECT_THAT(Ops(*graph), ElementsAre("DequantizeLinear", "DequantizeLinear", "GRU"));
  EXPECT_EQ(std::get<std::string>(graph->nodes[2].attributes.at("compute_type")), "int8");
  EXPECT_THAT(graph->constant(graph->FindValue("w.int8"))->view().as<const int8_t>(),
              ElementsAre(64, -127, 32, 127, -8, 127));
  const std::vector<float> values = {0.3F, -0.7F, 1.1F, -1.5F};
  const Constant x = Constant::Of<float>(Shape{2, 1, 2}, values);
  const auto want = Evaluate(before, std::vector{x.view()});
  const auto got = Evaluate(*graph, std::vector{x.view()});
  ASSERT_TRUE(want.ok() && got.ok());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR((*got)[0].view().as<const float>()[i], (*want)[0].view().as<const float>()[i],
                0.01);
  }
}

/// Two columns of ids looked up in one table of `rows` x 16, the second by way of an Add.
Graph Embedding(int64_t rows) {
  Graph graph;
  std::vector<float> table(static_cast<size_t>(rows * 16));
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 255) - 127.0F;
  const ValueId weights = graph.AddConstant("table", Constant::Of<float>(Shape{rows, 16}, table));
  for (const char* name : {"a", "b"}) {
    const ValueId ids = graph.AddInput(std::string(name) + "_ids", DataType::kInt64, Shape{2});
    graph.nodes.push_back({.name = name,
                           .op = "Gather",
                           .inputs = {weights, ids},
                           .outputs = {graph.AddValue(name, DataType::kUndefined, Shape{})}});
    graph.outputs.push_back(graph.nodes.back().outputs[0]);
  }
  EXPECT_TRUE(InferShapes(graph).ok());
  return graph;
}

TEST(InsertQuantization, ATableIsQuantizedOnceAndItsRowsDequantizedAfterwards) {
  Graph graph = Embedding(1024);
  const Graph before = graph;
  ASSERT_TRUE(InsertQuantization(graph, FindQuantizableLayers(graph), {}).ok());
  ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
  EXPECT_THAT(Ops(graph), ElementsAre("Gather", "DequantizeLinear", "Gather", "DequantizeLinear"));
  EXPECT_EQ(graph.nodes[0].inputs[0], graph.nodes[2].inputs[0]);
  EXPECT_EQ(graph.constant(graph.nodes[0].inputs[0])->dtype, DataType::kInt8);
  const std::vector<int64_t> ids = {3, 1023};
  const Constant some = Constant::Of<int64_t>(Shape{2}, ids);
  const auto want = Evaluate(before, std::vector{some.view(), some.view()});
  const auto got = Evaluate(graph, std::vector{some.view(), some.view()});
  ASSERT_TRUE(want.ok() && got.ok());
  for (size_t output : {0, 1}) {
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_NEAR((*got)[output].view().as<const float>()[i],
                  (*want)[output].view().as<const float>()[i], 0.51);
    }
  }
}

TEST(InsertQuantization, ASmallTableIsLeftAlone) {
  EXPECT_TRUE(FindQuantizableLayers(Embedding(1023)).empty());
}

TEST(WhyNotInt8, NamesWhatCannotBe) {
  Graph graph = ThreeLayers();
  auto layers = FindQuantizableLayers(graph);
  EXPECT_EQ(WhyNotInt8(graph, layers[0], kRanges), "");
  EXPECT_EQ(WhyNotInt8(graph, layers[0], {}), "") << "an error of InsertQuantization";
  const TensorRanges tiny = {{"x", {.threshold = 1e-40F}}};
  EXPECT_THAT(WhyNotInt8(graph, layers[0], tiny), HasSubstr("'x' is too small"));
  EXPECT_EQ(WhyNotInt8(graph, layers[2], tiny), "");
  graph = ThreeLayers("nan, 0, 1, 0, 1, 0");
  EXPECT_THAT(WhyNotInt8(graph, layers[0], kRanges), HasSubstr("weights 'w0' hold nan"));
}

TEST(InsertQuantization, RefusesWhatInt8CannotHold) {
  Graph graph = ThreeLayers("inf, 0, 1, 0, 1, 0");
  EXPECT_THAT(InsertQuantization(graph, FindQuantizableLayers(graph), kRanges).message(),
              HasSubstr("weights 'w0' hold inf"));
  graph = ThreeLayers();
  EXPECT_THAT(InsertQuantization(graph, FindQuantizableLayers(graph), {}).message(),
              HasSubstr("tensor 'x' has no range"));
}

}  // namespace
}  // namespace verdict
