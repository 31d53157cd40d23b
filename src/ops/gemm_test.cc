#include <gmock/gmock.h>

#include "ops/half.h"
#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Constant RunOne(const Node& node, const std::vector<Constant>& inputs) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? (*outputs)[0] : Tensor<float>({0}, {});
}

const Constant kA = Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6});
const Constant kATransposed = Tensor<float>({3, 2}, {1, 4, 2, 5, 3, 6});
const Constant kB = Tensor<float>({3, 2}, {1, 0, 2, -1, 0, 3});
const Constant kBTransposed = Tensor<float>({2, 3}, {1, 2, 0, 0, -1, 3});

TEST(Gemm, MultipliesEveryCombinationOfTransposes) {
  for (int64_t trans_a : {0, 1}) {
    for (int64_t trans_b : {0, 1}) {
      const Node node = MakeNode("Gemm", 2, {{"transA", trans_a}, {"transB", trans_b}});
      const Constant y = RunOne(node, {trans_a ? kATransposed : kA, trans_b ? kBTransposed : kB});
      EXPECT_EQ(y.shape, (Shape{2, 2}));
      EXPECT_THAT(Values<float>(y), ElementsAre(5, 7, 14, 13)) << trans_a << trans_b;
    }
  }
}

TEST(Gemm, ScalesProductAndBias) {
  const Node node = MakeNode("Gemm", 3, {{"alpha", 2.0F}, {"beta", 0.5F}});
  const Constant y = RunOne(node, {kA, kB, Tensor<float>({2}, {100, 200})});
  EXPECT_THAT(Values<float>(y), ElementsAre(60, 114, 78, 126));
}

TEST(Gemm, BroadcastsEveryShapeOfBias) {
  const Node node = MakeNode("Gemm", 3);
  const auto with = [&](const Shape& shape, std::vector<float> c) {
    return Values<float>(RunOne(node, {kA, kB, Tensor<float>(shape, std::move(c))}));
  };
  EXPECT_THAT(with({}, {1}), ElementsAre(6, 8, 15, 14));
  EXPECT_THAT(with({1}, {1}), ElementsAre(6, 8, 15, 14));
  EXPECT_THAT(with({2}, {1, 2}), ElementsAre(6, 9, 15, 15));
  EXPECT_THAT(with({1, 2}, {1, 2}), ElementsAre(6, 9, 15, 15));
  EXPECT_THAT(with({2, 1}, {1, 2}), ElementsAre(6, 8, 16, 15));
  EXPECT_THAT(with({2, 2}, {1, 2, 3, 4}), ElementsAre(6, 9, 17, 17));
}

TEST(Gemm, IgnoresBiasWhenBetaIsZero) {
  const Node node = MakeNode("Gemm", 3, {{"beta", 0.0F}});
  const Constant y = RunOne(node, {kA, kB, Tensor<float>({2}, {NAN, NAN})});
  EXPECT_THAT(Values<float>(y), ElementsAre(5, 7, 14, 13));
}

TEST(Gemm, TransposedProductCoversMoreThanOneBlock) {
  constexpr int64_t kInner = 19;
  std::vector<double> a(2 * kInner), b(3 * kInner), expected(6, 0.0);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i % 7) - 3;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<double>(i % 5) - 2;
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      for (size_t p = 0; p < kInner; ++p) {
        expected[i * 3 + j] += a[i * kInner + p] * b[j * kInner + p];
      }
    }
  }
  const Constant y = RunOne(MakeNode("Gemm", 2, {{"transB", int64_t{1}}}),
                            {Tensor<double>({2, kInner}, a), Tensor<double>({3, kInner}, b)});
  EXPECT_EQ(Values<double>(y), expected);
}

TEST(Gemm, GivesZerosForAnEmptyInnerExtent) {
  const Constant y =
      RunOne(MakeNode("Gemm", 2), {Tensor<float>({2, 0}, {}), Tensor<float>({0, 1}, {})});
  EXPECT_THAT(Values<float>(y), ElementsAre(0, 0));
}

TEST(Gemm, RefusesWhatDoesNotFit) {
  const auto message = [](const std::vector<Constant>& inputs) {
    return RunOp(MakeNode("Gemm", inputs.size()), inputs).status().message();
  };
  EXPECT_THAT(message({kA, kA}), HasSubstr("A has shape [2,3] and B has shape [2,3]"));
  EXPECT_THAT(message({kA, Tensor<float>({3}, {1, 2, 3})}), HasSubstr("needs 2 dimensions"));
  EXPECT_THAT(message({kA, kB, Tensor<float>({3}, {1, 2, 3})}),
              HasSubstr("does not broadcast to [2,2]"));
  EXPECT_FALSE(message({kA, Tensor<double>({3, 1}, {1, 2, 3})}).empty());
  EXPECT_FALSE(message({Tensor<int64_t>({1, 1}, {1}), Tensor<int64_t>({1, 1}, {1})}).empty());
}

TEST(Gemm, KeepsSymbolicRows) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const TensorView inputs[] = {{DataType::kFloat32, {n, 3}, nullptr},
                               {DataType::kFloat32, {3, 2}, nullptr}};
  TensorView outputs[1];
  ASSERT_TRUE(InferNode(MakeNode("Gemm", 2), inputs, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n, 2}));
}

TEST(MatMul, BroadcastsStacksOfMatrices) {
  const Constant a = Tensor<float>({2, 1, 1, 2}, {1, 2, 3, 4});
  const Constant b = Tensor<float>({3, 2, 1}, {1, 0, 0, 1, 1, 1});
  const Constant y = RunOne(MakeNode("MatMul", 2), {a, b});
  EXPECT_EQ(y.shape, (Shape{2, 3, 1, 1}));
  EXPECT_THAT(Values<float>(y), ElementsAre(1, 2, 3, 3, 4, 7));
}

TEST(MatMul, TreatsVectorsAsRowAndColumn) {
  const Node node = MakeNode("MatMul", 2);
  const Constant v3 = Tensor<float>({3}, {1, 2, 3});
  const Constant v2 = Tensor<float>({2}, {1, 2});
  Constant y = RunOne(node, {kA, v3});
  EXPECT_EQ(y.shape, (Shape{2}));
  EXPECT_THAT(Values<float>(y), ElementsAre(14, 32));
  y = RunOne(node, {v2, kA});
  EXPECT_EQ(y.shape, (Shape{3}));
  EXPECT_THAT(Values<float>(y), ElementsAre(9, 12, 15));
  y = RunOne(node, {v3, v3});
  EXPECT_EQ(y.shape, (Shape{}));
  EXPECT_THAT(Values<float>(y), ElementsAre(14));
  y = RunOne(node, {Tensor<float>({2, 1, 3}, {1, 2, 3, 4, 5, 6}), v3});
  EXPECT_EQ(y.shape, (Shape{2, 1}));
  EXPECT_THAT(Values<float>(y), ElementsAre(14, 32));
}

TEST(MatMul, RefusesWhatDoesNotFit) {
  const auto message = [](const Constant& a, const Constant& b) {
    return RunOp(MakeNode("MatMul", 2), {a, b}).status().message();
  };
  EXPECT_THAT(message(kA, kA), HasSubstr("A's columns must be as many as B's rows"));
  EXPECT_THAT(message(Tensor<float>({2, 1, 1}, {1, 2}), Tensor<float>({3, 1, 1}, {1, 2, 3})),
              HasSubstr("do not broadcast"));
  EXPECT_THAT(message(Tensor<float>({}, {1}), kA), HasSubstr("needs 1 or more dimensions"));
}

TEST(FusedGemm, AddsBiasAndActivatesOverLeadingDimensions) {
  const Constant a = Tensor<float>({2, 1, 3}, {1, 2, 3, -4, -5, -6});
  const Node node = MakeNode("FusedGemm", 3, {{"activation", std::string("Relu")}});
  const Constant y = RunOne(node, {a, kB, Tensor<float>({2}, {0.5F, 20})});
  EXPECT_EQ(y.shape, (Shape{2, 1, 2}));
  EXPECT_THAT(Values<float>(y), ElementsAre(5.5F, 27, 0, 7));
}

TEST(FusedGemm, AppliesEachActivation) {
  struct Case {
    const char* name;
    std::vector<float> at_minus_one_and_two;
  };
  const Case cases[] = {{"", {-1, 2}},
                        {"Relu", {0, 2}},
                        {"LeakyRelu", {-0.25F, 2}},
                        {"Sigmoid", {0.268941421F, 0.880797078F}},
                        {"Tanh", {-0.761594156F, 0.964027580F}},
                        {"Gelu", {-0.158655254F, 1.954499736F}},
                        {"GeluTanh", {-0.158808009F, 1.954597694F}},
                        {"Silu", {-0.268941421F, 1.761594156F}},
                        {"Elu", {-0.158030140F, 2}}};
  for (const Case& c : cases) {
    const Node node =
        MakeNode("FusedGemm", 2, {{"activation", std::string(c.name)}, {"alpha", 0.25F}});
    const auto y =
        Values<float>(RunOne(node, {Tensor<float>({2, 1}, {-1, 2}), Tensor<float>({1, 1}, {1})}));
    ASSERT_EQ(y.size(), 2U);
    EXPECT_NEAR(y[0], c.at_minus_one_and_two[0], 1e-6) << c.name;
    EXPECT_NEAR(y[1], c.at_minus_one_and_two[1], 1e-6) << c.name;
  }
}

TEST(FusedGemm, RefusesUnknownActivationAndShapes) {
  EXPECT_THAT(RunOp(MakeNode("FusedGemm", 2, {{"activation", std::string("Swosh")}}), {kA, kB})
                  .status()
                  .message(),
              HasSubstr("unknown activation 'Swosh'"));
  EXPECT_THAT(RunOp(MakeNode("FusedGemm", 2), {kA, kA}).status().message(),
              HasSubstr("input 1 (B) has shape [2,3], needs [3,3]"));
  EXPECT_THAT(RunOp(MakeNode("FusedGemm", 3), {kA, kB, Tensor<float>({1}, {1})}).status().message(),
              HasSubstr("input 2 (bias) has shape [1], needs [2]"));
}

template <typename Half>
Constant HalfMatrix(const Shape& shape, const std::vector<float>& values) {
  std::vector<Half> halves;
  for (float value : values) halves.push_back(Half::Of(value));
  return Tensor<Half>(shape, halves);
}

TEST(HalfGemm, RoundsTheFirstFactorOnly) {
  // Halfway between two bfloat16s, to the even one; to float16, both are exact.
  const Constant a = Tensor<float>({2, 2}, {1.00390625F, 0, 1.01171875F, 0});
  const std::vector<float> one = {1, 0};
  const Constant bias = Tensor<float>({1}, {1.00390625F});
  const Node node = MakeNode("HalfGemm", 3);
  EXPECT_THAT(Values<float>(RunOne(node, {a, HalfMatrix<BFloat16>({2, 1}, one), bias})),
              ElementsAre(2.00390625F, 2.01953125F));
  EXPECT_THAT(Values<float>(RunOne(node, {a, HalfMatrix<Float16>({2, 1}, one), bias})),
              ElementsAre(2.0078125F, 2.015625F));
}

TEST(HalfGemm, SumsWhatTheHalfTypeCannotHold) {
  const Constant a = Tensor<float>({1, 2}, {60000, 60000});
  const Node node = MakeNode("HalfGemm", 2, {{"activation", std::string("Relu")}});
  const Constant y = RunOne(node, {a, HalfMatrix<Float16>({2, 3}, {60000, -1, 0, 60000, -1, 0})});
  EXPECT_THAT(Values<float>(y), ElementsAre(7.2e9F, 0, 0));
  const Constant too_large = Tensor<float>({1, 2}, {65520, 0});
  EXPECT_THAT(Values<float>(RunOne(node, {too_large, HalfMatrix<Float16>({2, 1}, {1, 0})})),
              ElementsAre(INFINITY));
}

TEST(HalfGemm, RefusesOtherTypesAndShapes) {
  const Constant half = HalfMatrix<Float16>({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(Message("HalfGemm", {kA, kB}), HasSubstr("f32"));
  EXPECT_THAT(Message("HalfGemm", {half, half}), HasSubstr("f16"));
  EXPECT_THAT(Message("HalfGemm", {kB, half}), HasSubstr("B"));
  EXPECT_THAT(Message("HalfGemm", {kA, half, Tensor<float>({3}, {1, 2, 3})}), HasSubstr("bias"));
  EXPECT_THAT(Message("HalfGemm", {kA, half}, {{"activation", std::string("Relo")}}),
              HasSubstr("unknown activation 'Relo'"));
}

}  // namespace
}  // namespace verdict
