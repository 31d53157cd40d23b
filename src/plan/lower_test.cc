#include "plan/lower.h"

#include <gmock/gmock.h>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/half.h"
#include "ops/infer.h"
#include "ops/verify.h"

namespace verdict {
namespace {

Graph Parse(const std::string& text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  EXPECT_TRUE(InferShapes(*graph).ok());
  return std::move(*graph);
}

/// A layer between Q and DQ. scale, zero: of the DequantizeLinear of the activations.
std::string Layer(const std::string& zero_type = "i8", const std::string& zero = "0",
                  const std::string& weight_scales = "const %ws: f32[2] = [0.5, 0.25]",
                  const std::string& second_scale = "%s", const std::string& axis = "1") {
  return R"(graph "g" {
  input %x: f32[N,3]
  const %s: f32[] = [0.1]
  const %other: f32[] = [0.2]
  const %z: )" +
         zero_type + "[] = [" + zero + R"(]
  const %w: i8[3,2] = [1, -2, 3, 4, -128, 127]
  )" + weight_scales +
         R"(
  const %b: f32[2] = [1, -1]
  %q = QuantizeLinear(%x, %s, %z)
  %d = DequantizeLinear(%q, )" +
         second_scale + R"(, %z)
  %dw = DequantizeLinear(%w, %ws) {axis=)" +
         axis + R"(}
  %y = FusedGemm(%d, %dw, %b) {activation="Relu"}
  output %y
})";
}

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes) ops.push_back(node.op);
  return ops;
}

void ExpectSameValues(const Graph& before, const Graph& after) {
  ASSERT_TRUE(VerifyGraph(after).ok()) << VerifyGraph(after).ToString();
  const std::vector<float> values = {0.31F, -2.0F, 0.05F, 100.0F, -100.0F, 0.149F};
  const Constant x = Constant::Of<float>(Shape{2, 3}, values);
  const std::vector<TensorView> inputs = {x.view()};
  const auto want = Evaluate(before, inputs), got = Evaluate(after, inputs);
  ASSERT_TRUE(want.ok()) << want.status().ToString();
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  for (size_t i = 0; i < 4; ++i) {
    const float value = (*want)[0].view().as<const float>()[i];
    EXPECT_NEAR((*got)[0].view().as<const float>()[i], value, 1e-5 * (1 + std::abs(value)));
  }
}

TEST(Lower, ALayerBetweenQuantizeAndDequantizeBecomesOneNode) {
  for (const auto& [type, zero] : {std::pair{"i8", "0"}, {"i8", "-5"}, {"u8", "0"}, {"u8", "77"}}) {
    SCOPED_TRACE(std::string(type) + " " + zero);
    const Graph graph = Parse(Layer(type, zero));
    const auto lowered = Lower(graph);
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_THAT(Ops(**lowered), testing::ElementsAre("QuantizedGemm"));
    ExpectSameValues(graph, **lowered);
  }
}

TEST(Lower, OneScaleForAllWeightsIsRepeated) {
  const Graph graph = Parse(Layer("i8", "0", "const %ws: f32[] = [0.5]"));
  const auto lowered = Lower(graph);
  ASSERT_TRUE(lowered.ok() && lowered->has_value());
  EXPECT_THAT(Ops(**lowered), testing::ElementsAre("QuantizedGemm"));
  ExpectSameValues(graph, **lowered);
}

TEST(Lower, WhatNoKernelTakesIsKeptWithItsWeightsDequantized) {
  for (const std::string& text :
       {Layer("i8", "0", "const %ws: f32[2] = [0.5, 0.25]", "%other"),
        Layer("i8", "0", "const %ws: f32[3] = [0.5, 0.25, 1]", "%s", "0")}) {
    const Graph graph = Parse(text);
    const auto lowered = Lower(graph);
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_THAT(Ops(**lowered),
                testing::ElementsAre("QuantizeLinear", "DequantizeLinear", "FusedGemm"));
    ExpectSameValues(graph, **lowered);
  }
}

/// An LSTM of one unit whose weights are behind DQ.
std::string RecurrentLayer(const std::string& attributes, const std::string& axis = "1",
                           const std::string& r_zeros = "0, 0, 0, 0") {
  return R"(graph "g" {
  input %x: f32[T,N,2]
  const %w: i8[1,4,2] = [1, -2, 3, 4, -128, 127, 50, 60]
  const %ws: f32[4] = [0.01, 0.02, 0.03, 0.04]
  const %r: i8[1,4,1] = [100, -50, 25, 12]
  const %rs: f32[4] = [0.05, 0.04, 0.03, 0.02]
  const %rz: i8[4] = [)" +
         r_zeros + R"(]
  %dw = DequantizeLinear(%w, %ws) {axis=)" +
         axis + R"(}
  %dr = DequantizeLinear(%r, %rs, %rz) {axis=)" +
         axis + R"(}
  %y = LSTM(%x, %dw, %dr) {hidden_size=1)" +
         attributes + R"(}
  output %y
})";
}

TEST(Lower, ARecurrentLayerComputesInTheTypeItAsksFor) {
  for (const char* axis : {"1", "-2"}) {
    const Graph graph = Parse(RecurrentLayer(", compute_type=\"int8\"", axis));
    const auto lowered = Lower(graph);
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_THAT(Ops(**lowered), testing::ElementsAre("QuantizedLSTM"));
    ASSERT_TRUE(VerifyGraph(**lowered).ok()) << VerifyGraph(**lowered).ToString();
    const std::vector<float> values = {0.3F, -0.6F, 1.0F, 0.25F, 0.5F, -0.5F, 0.125F, 1.0F};
    const Constant x = Constant::Of<float>(Shape{2, 2, 2}, values);
    const auto want = Evaluate(graph, std::vector{x.view()});
    const auto got = Evaluate(**lowered, std::vector{x.view()});
    ASSERT_TRUE(want.ok() && got.ok());
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR((*got)[0].view().as<const float>()[i], (*want)[0].view().as<const float>()[i],
                  0.01);
    }
  }
}

TEST(Lower, ARecurrentLayerOfHalfWeightsToo) {
  auto graph = ParseGraph(R"(graph "g" {
  input %x: f32[T,N,2]
  const %h: f32[1,3,2] = [0.3, -1, 0.25, 1, -0.125, 2]
  const %w: f32[1,3,1] = [1, -0.5, 0.3]
  %dh = Cast(%h) {to=1}
  %dw = Cast(%w) {to=1}
  %y = GRU(%x, %dh, %dw) {hidden_size=1, linear_before_reset=1, compute_type="bfloat16"}
  output %y
})");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  for (const char* name : {"h", "w"}) {
    Value& value = graph->value(graph->FindValue(name));
    std::vector<BFloat16> halves;
    for (float each : value.constant->view().as<const float>()) {
      halves.push_back(BFloat16::Of(each));
    }
    value.constant = std::make_shared<const Constant>(Constant::Of<BFloat16>(value.shape, halves));
    value.dtype = DataType::kBFloat16;
  }
  ASSERT_TRUE(InferShapes(*graph).ok());
  const auto lowered = Lower(*graph);
  ASSERT_TRUE(lowered.ok() && lowered->has_value());
  EXPECT_THAT(Ops(**lowered), testing::ElementsAre("QuantizedGRU"));
  EXPECT_TRUE(VerifyGraph(**lowered).ok()) << VerifyGraph(**lowered).ToString();
  // Asked for in another type than the weights have, it is computed in floats.
  graph->nodes[2].attributes.insert_or_assign("compute_type", std::string("float16"));
  const auto other = Lower(*graph);
  ASSERT_TRUE(other.ok() && other->has_value());
  EXPECT_THAT(Ops(**other), testing::ElementsAre("GRU"));
}

TEST(Lower, AnOutputThatIsLeftOutStaysSo) {
  Graph graph = Parse(RecurrentLayer(", compute_type=\"int8\""));
  Node& lstm = graph.nodes.back();
  lstm.outputs = {kNoValue, lstm.outputs[0]};
  ASSERT_TRUE(InferShapes(graph).ok());
  const auto lowered = Lower(graph);
  ASSERT_TRUE(lowered.ok() && lowered->has_value());
  EXPECT_THAT(Ops(**lowered), testing::ElementsAre("QuantizedLSTM"));
}

TEST(Lower, ARecurrentLayerThatAsksForNothingIsComputedInFloats) {
  for (const std::string& text : {RecurrentLayer(""), RecurrentLayer(", compute_type=\"float8\""),
                                  RecurrentLayer(", compute_type=\"int8\"", "1", "0, 0, 3, 0")}) {
    const auto lowered = Lower(Parse(text));
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_THAT(Ops(**lowered), testing::ElementsAre("LSTM"));
  }
}

/// The graph of a text, in which the constant w is written as f32, with w of a half type.
template <typename Half>
Graph WithHalfWeights(const std::string& text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  Value& w = graph->value(graph->FindValue("w"));
  std::vector<Half> halves;
  for (float value : w.constant->view().as<const float>()) halves.push_back(Half::Of(value));
  w.dtype = kDataTypeOf<Half>;
  w.constant = std::make_shared<const Constant>(Constant::Of<Half>(w.shape, halves));
  EXPECT_TRUE(InferShapes(*graph).ok());
  return std::move(*graph);
}

/// A layer of half precision. to: the type that its activations are rounded to.
std::string HalfLayer(int to, const std::string& activations = "%r") {
  return R"(graph "g" {
  input %x: f32[N,3]
  const %w: f32[3,2] = [0.3, -2, 3, 0.7, -1.28, 0.1]
  const %b: f32[2] = [1, -1]
  %h = Cast(%x) {to=)" +
         std::to_string(to) + R"(}
  %r = Cast(%h) {to=1}
  %f = Cast(%w) {to=1}
  %y = FusedGemm()" +
         activations + R"(, %f, %b) {activation="Relu"}
  output %y
})";
}

TEST(Lower, ALayerOfCastsBecomesOneNode) {
  for (const Graph& graph :
       {WithHalfWeights<BFloat16>(HalfLayer(16)), WithHalfWeights<Float16>(HalfLayer(10))}) {
    const auto lowered = Lower(graph);
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_THAT(Ops(**lowered), testing::ElementsAre("HalfGemm"));
    EXPECT_EQ((*lowered)->nodes[0].inputs[0], graph.FindValue("x"));
    ExpectSameValues(graph, **lowered);
  }
}

TEST(Lower, ActivationsThatComeAsHalvesAreLeftSo) {
  const Graph graph = WithHalfWeights<BFloat16>(R"(graph "g" {
  input %x: f32[N,3]
  const %w: f32[3,2] = [0.3, -2, 3, 0.7, -1.28, 0.1]
  %d = Cast(%x) {to=11}
  %h = Cast(%d) {to=16}
  %r = Cast(%h) {to=1}
  %f = Cast(%w) {to=1}
  %y = FusedGemm(%r, %f)
  output %y
})");
  const auto lowered = Lower(graph);
  ASSERT_TRUE(lowered.ok() && lowered->has_value());
  EXPECT_THAT(Ops(**lowered), testing::ElementsAre("Cast", "Cast", "Cast", "HalfGemm"));
  ExpectSameValues(graph, **lowered);
}

TEST(Lower, HalfWeightsThatNoKernelTakesAreMadeFloats) {
  // Activations in float32, and of the other half type.
  for (const Graph& graph :
       {WithHalfWeights<BFloat16>(HalfLayer(16, "%x")), WithHalfWeights<BFloat16>(HalfLayer(10))}) {
    const auto lowered = Lower(graph);
    ASSERT_TRUE(lowered.ok() && lowered->has_value());
    EXPECT_EQ((*lowered)->nodes.back().op, "FusedGemm");
    EXPECT_NE((*lowered)->constant(graph.FindValue("f")), nullptr);
    ExpectSameValues(graph, **lowered);
  }
}

TEST(Lower, AGraphWithoutQuantizationIsItself) {
  const auto lowered =
      Lower(Parse("graph \"g\" {\n  input %x: f32[N]\n  %y = Relu(%x)\n  output %y\n}"));
  ASSERT_TRUE(lowered.ok());
  EXPECT_FALSE(lowered->has_value());
}

TEST(Lower, ValuesKeepTheirNumbers) {
  const Graph graph = Parse(Layer());
  const auto lowered = Lower(graph);
  ASSERT_TRUE(lowered.ok() && lowered->has_value());
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    EXPECT_EQ(graph.value(id).name, (*lowered)->value(id).name);
  }
}

}  // namespace
}  // namespace verdict
