#include <algorithm>

#include "onnx/model_builder_test.h"

// Quantized models of every form mean what ONNX's and ONNX Runtime's documents say.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;
constexpr int32_t kI8 = onnx::TensorProto::INT8;
constexpr int32_t kU8 = onnx::TensorProto::UINT8;
constexpr int32_t kI32 = onnx::TensorProto::INT32;
constexpr char kMicrosoft[] = "com.microsoft";

onnx::TensorProto Scalar(const std::string& name, float value) {
  return FloatTensor(name, {}, {value});
}

/// A model of com.microsoft's operators, too.
TestModel Model(int64_t opset = 17) {
  TestModel model(opset);
  model.Opset(kMicrosoft, 1);
  return model;
}

/// Output 0 as numbers, whatever its type.
std::vector<float> Numbers(const TestModel& model, const std::vector<Constant>& inputs) {
  const auto outputs = RunModel(model.Import(), inputs);
  if (outputs.empty()) return {};
  return Values<float>(Compute("Cast", {outputs[0]}, {{"to", int64_t{onnx::TensorProto::FLOAT}}}));
}

/// How many nodes of an operator the imported model has.
int64_t Count(const TestModel& model, const std::string& op) {
  const auto imported = model.Import();
  if (!imported.ok()) return -1;
  return std::ranges::count(imported->graph.nodes, op, &Node::op);
}

// QuantizeLinear and DequantizeLinear.

TestModel QuantizeModel(int64_t opset, const onnx::TensorProto& scale,
                        const onnx::TensorProto& zero_point,
                        const std::vector<onnx::AttributeProto>& attributes = {}) {
  TestModel model = Model(opset);
  model.Input("x", {"2", "2"}).Initializer(scale).Initializer(zero_point);
  model.Node("QuantizeLinear", {"x", scale.name(), zero_point.name()}, {"q"}, attributes);
  return model.Output("q");
}

TEST(QuantizeLinear, RunsInEveryVersion) {
  const Constant x = Tensor<float>({2, 2}, {-1, 0.25F, 0.75F, 100});
  for (int64_t opset : {10, 13, 19, 21, 23}) {
    EXPECT_THAT(
        Numbers(QuantizeModel(opset, Scalar("s", 0.5F), ByteTensor("z", kU8, {}, {10})), {x}),
        ElementsAre(8, 10, 12, 210));  // ties to even
    EXPECT_THAT(
        Numbers(QuantizeModel(opset, Scalar("s", 0.5F), ByteTensor("z", kI8, {}, {0})), {x}),
        ElementsAre(-2, 0, 2, 127));
  }
}

TEST(QuantizeLinear, RunsPerAxisWhoseDefaultIs1) {
  const onnx::TensorProto scale = FloatTensor("s", {2}, {1, 0.5F});
  const onnx::TensorProto zero = ByteTensor("z", kI8, {2}, {0, 1});
  const Constant x = Tensor<float>({2, 2}, {1, 2, 3, 4});
  EXPECT_THAT(Numbers(QuantizeModel(13, scale, zero), {x}), ElementsAre(1, 5, 3, 9));
  EXPECT_THAT(Numbers(QuantizeModel(13, scale, zero, {IntAttr("axis", 0)}), {x}),
              ElementsAre(1, 2, 7, 9));
  EXPECT_THAT(
      Numbers(QuantizeModel(21, scale, zero, {IntAttr("axis", -2), IntAttr("saturate", 1)}), {x}),
      ElementsAre(1, 2, 7, 9));
}

TEST(QuantizeLinear, TakesOneScaleOfAnyShape) {
  const Constant x = Tensor<float>({2, 2}, {1, 2, 3, 4});
  const std::vector<std::vector<int64_t>> shapes = {{}, {1}, {1, 1}};
  for (const auto& scale : shapes) {
    for (const auto& zero : shapes) {
      EXPECT_THAT(
          Numbers(QuantizeModel(13, FloatTensor("s", scale, {1}), ByteTensor("z", kI8, zero, {1})),
                  {x}),
          ElementsAre(2, 3, 4, 5));
    }
  }
}

TEST(QuantizeLinear, FollowsOutputDtypeWithoutAZeroPoint) {
  const auto model = [](const std::vector<onnx::AttributeProto>& attributes) {
    TestModel made = Model(21);
    made.Input("x", {"2"}).Initializer(Scalar("s", 1));
    return made.Node("QuantizeLinear", {"x", "s"}, {"q"}, attributes).Output("q");
  };
  const Constant x = Tensor<float>({2}, {-3, 200});
  EXPECT_THAT(Numbers(model({}), {x}), ElementsAre(0, 200));
  EXPECT_THAT(Numbers(model({IntAttr("output_dtype", kI8)}), {x}), ElementsAre(-3, 127));
  ExpectError(model({IntAttr("output_dtype", onnx::TensorProto::INT16)}).Import(), kUnimplemented,
              {"node 'q' (QuantizeLinear)", "'output_dtype'"});
}

TEST(QuantizeLinear, QuantizesIntegers) {
  TestModel model = Model();
  model.Input("x", {"2"}, kI32).Initializer(Scalar("s", 2));
  model.Node("QuantizeLinear", {"x", "s"}, {"q"}).Output("q");
  EXPECT_THAT(Numbers(model, {Tensor<int32_t>({2}, {4, 10})}), ElementsAre(2, 5));
}

TEST(QuantizeLinear, RefusesWhatItDoesNotHave) {
  const std::string node = "node 'q' (QuantizeLinear)";
  const onnx::TensorProto zero = ByteTensor("z", kI8, {}, {0});
  ExpectError(QuantizeModel(21, Scalar("s", 1), zero, {IntAttr("block_size", 2)}).Import(),
              kUnimplemented, {node, "'block_size' is 2", "per tensor or per axis"});
  ExpectError(QuantizeModel(21, Scalar("s", 1), ByteTensor("z", onnx::TensorProto::INT16, {}, {0}))
                  .Import(),
              kUnimplemented, {node, "zero point", "i16", "i8 and u8"});
  onnx::TensorProto half = ByteTensor("s", onnx::TensorProto::FLOAT16, {}, {0x3C00});
  ExpectError(QuantizeModel(19, half, zero).Import(), kUnimplemented,
              {node, "scale of type f16", "float32 model"});
  TestModel of_half = QuantizeModel(19, Scalar("s", 1), zero);
  of_half.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(
      onnx::TensorProto::FLOAT16);
  ExpectError(of_half.Import(), kUnimplemented, {node, "of type f16"});
  ExpectError(QuantizeModel(13, FloatTensor("s", {2, 2}, {1, 1, 1, 1}), zero).Import(),
              kUnimplemented, {node, "[2,2]", "along one axis"});
}

TEST(DequantizeLinear, TakesBytesAndBiases) {
  const auto run = [](int32_t type, int64_t opset) {
    TestModel model = Model(opset);
    model.Input("x", {"1"}).Initializer(ByteTensor("q", type, {2}, {5, 7}));
    model.Initializer(FloatTensor("s", {2}, {0.5F, 2}));
    model.Node("DequantizeLinear", {"q", "s"}, {"y"}, {IntAttr("axis", 0)}).Output("y");
    return Numbers(model, {Tensor<float>({1}, {0})});
  };
  for (int32_t type : {kI8, kU8, kI32}) {
    for (int64_t opset : {13, 19, 21}) EXPECT_THAT(run(type, opset), ElementsAre(2.5F, 14));
  }
}

TEST(DequantizeLinear, RefusesBlocks) {
  TestModel model = Model(21);
  model.Input("x", {"1"}).Initializer(ByteTensor("q", kI8, {4}, {1, 2, 3, 4}));
  model.Initializer(FloatTensor("s", {2}, {1, 2}));
  model.Node("DequantizeLinear", {"q", "s"}, {"y"}, {IntAttr("block_size", 2), IntAttr("axis", 0)});
  ExpectError(model.Output("y").Import(), kUnimplemented, {"node 'y'", "'block_size'"});
}

TEST(QuantizeLinear, IsTheSameInMicrosoftsDomain) {
  TestModel model = Model();
  model.Input("x", {"2"}).Initializer(Scalar("s", 0.5F)).Initializer(ByteTensor("z", kI8, {}, {1}));
  model.Node("QuantizeLinear", {"x", "s", "z"}, {"q"}, {}, kMicrosoft);
  model.Node("DequantizeLinear", {"q", "s", "z"}, {"y"}, {}, kMicrosoft).Output("y");
  EXPECT_THAT(Numbers(model, {Tensor<float>({2}, {1.1F, -2})}), ElementsAre(1, -2));
}

// Operators whose inputs and outputs are quantized.

/// a: [2,2] u8, scale 0.5, zero point 1; b: [2,2] i8.
TestModel ProductModel(const onnx::TensorProto& b_scale, const onnx::TensorProto& b_zero) {
  TestModel model = Model();
  model.Input("a", {"2", "2"}, kU8);
  model.Initializer(Scalar("as", 0.5F)).Initializer(ByteTensor("az", kU8, {}, {1}));
  model.Initializer(ByteTensor("b", kI8, {2, 2}, {1, -2, 3, 4}));
  model.Initializer(b_scale).Initializer(b_zero);
  model.Initializer(Scalar("ys", 0.25F)).Initializer(ByteTensor("yz", kU8, {}, {100}));
  return model;
}

/// 1, 0, -0.5, 2
Constant A() { return Tensor<uint8_t>({2, 2}, {3, 1, 0, 5}); }

TEST(QLinearMatMul, MultipliesPerTensorAndPerColumn) {
  const std::vector<std::string> inputs = {"a", "as", "az", "b", "bs", "bz", "ys", "yz"};
  TestModel one = ProductModel(Scalar("bs", 2), ByteTensor("bz", kI8, {}, {0}));
  one.Node("QLinearMatMul", inputs, {"y"}).Output("y");
  // B is {2, -4, 6, 8}: A·B is {2, -4, 11, 18}.
  EXPECT_THAT(Numbers(one, {A()}), ElementsAre(108, 84, 144, 172));
  EXPECT_EQ(Count(one, "DequantizeLinear"), 2);
  EXPECT_EQ(Count(one, "QuantizeLinear"), 1);
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2}, std::vector<int64_t>{1, 2}}) {
    TestModel columns =
        ProductModel(FloatTensor("bs", dims, {2, 1}), ByteTensor("bz", kI8, dims, {0, 2}));
    columns.Node("QLinearMatMul", inputs, {"y"}).Output("y");
    // B is {2, -4, 6, 2}: A·B is {2, -4, 11, 6}.
    EXPECT_THAT(Numbers(columns, {A()}), ElementsAre(108, 84, 144, 124));
  }
}

TEST(QLinearMatMul, MultipliesPerRow) {
  TestModel model = ProductModel(Scalar("bs", 2), ByteTensor("bz", kI8, {}, {0}));
  *model.graph().mutable_initializer(0) = FloatTensor("as", {2}, {0.5F, 1});
  *model.graph().mutable_initializer(1) = ByteTensor("az", kU8, {2}, {1, 0});
  model.Node("QLinearMatMul", {"a", "as", "az", "b", "bs", "bz", "ys", "yz"}, {"y"}).Output("y");
  // A is {1, 0, 0, 5}: A·B is {2, -4, 30, 40}.
  EXPECT_THAT(Numbers(model, {A()}), ElementsAre(108, 84, 220, 255));
}

TEST(QGemm, AddsTheBiasAtTheProductsScale) {
  const std::vector<std::string> inputs = {"a", "as", "az", "b", "bs", "bz", "c"};
  const auto model = [&](const std::vector<onnx::AttributeProto>& attributes, bool quantized) {
    TestModel made =
        ProductModel(FloatTensor("bs", {2}, {2, 1}), ByteTensor("bz", kI8, {2}, {0, 2}));
    made.Initializer(ByteTensor("c", kI32, {2}, {3, -4}));
    std::vector<std::string> all = inputs;
    if (quantized) all.insert(all.end(), {"ys", "yz"});
    return made.Node("QGemm", all, {"y"}, attributes, kMicrosoft).Output("y");
  };
  // A·B is {2, -4, 11, 6}; C is {3, -2}.
  EXPECT_THAT(Numbers(model({}, false), {A()}), ElementsAre(5, -6, 14, 4));
  EXPECT_THAT(Numbers(model({}, true), {A()}), ElementsAre(120, 76, 156, 116));
  EXPECT_THAT(Numbers(model({FloatAttr("alpha", 0.5F)}, false), {A()}),
              ElementsAre(2.5F, -3, 7, 2));
  // Scales are those of B's rows now: B is {2, -4, 1, 2}, and turned {2, 1, -4, 2}.
  EXPECT_THAT(Numbers(model({IntAttr("transB", 1)}, false), {A()}), ElementsAre(5, -1, -6, 1.5F));
}

TEST(QLinearConv, AddsTheBiasAtTheProductsScale) {
  TestModel model = Model();
  model.Input("x", {"1", "1", "3"}, kU8);
  model.Initializer(Scalar("xs", 0.5F)).Initializer(ByteTensor("xz", kU8, {}, {2}));
  model.Initializer(ByteTensor("w", kI8, {2, 1, 2}, {1, 1, 1, -1}));
  model.Initializer(FloatTensor("ws", {2}, {2, 4})).Initializer(ByteTensor("wz", kI8, {2}, {0, 0}));
  model.Initializer(Scalar("ys", 1)).Initializer(ByteTensor("yz", kU8, {}, {10}));
  model.Initializer(ByteTensor("b", kI32, {2}, {1, -1}));
  model.Node("QLinearConv", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, {"y"},
             {IntsAttr("pads", {1, 0})});
  model.Output("y");
  // x is {1, 2, -1}, padded by a real 0: {0, 1, 2, -1}. Weights {2, 2}, {4, -4}; bias {1, -2}.
  EXPECT_THAT(Numbers(model, {Tensor<uint8_t>({1, 1, 3}, {4, 6, 0})}),
              ElementsAre(13, 17, 13, 4, 4, 20));
}

TEST(QLinearBinary, AddsAndMultiplies) {
  const auto model = [](const std::string& op) {
    TestModel made = Model();
    made.Input("a", {"2"}, kI8).Initializer(ByteTensor("b", kI8, {1}, {3}));
    made.Initializer(Scalar("as", 0.5F)).Initializer(Scalar("bs", 2)).Initializer(Scalar("ys", 1));
    made.Initializer(ByteTensor("z", kI8, {}, {1}));
    made.Node(op, {"a", "as", "z", "b", "bs", "", "ys", ""}, {"y"}, {}, kMicrosoft);
    return made.Output("y");
  };
  const Constant a = Tensor<int8_t>({2}, {5, -3});  // 2, -2
  EXPECT_THAT(Numbers(model("QLinearAdd"), {a}), ElementsAre(8, 4));
  EXPECT_THAT(Numbers(model("QLinearMul"), {a}), ElementsAre(12, -12));
}

TEST(QLinearUnary, AppliesActivations) {
  const auto model = [](const std::string& op,
                        const std::vector<onnx::AttributeProto>& attributes) {
    TestModel made = Model();
    made.Input("x", {"1", "2"}, kI8).Initializer(Scalar("xs", 1)).Initializer(Scalar("ys", 0.01F));
    made.Initializer(ByteTensor("z", kI8, {}, {0}));
    made.Node(op, {"x", "xs", "z", "ys", "z"}, {"y"}, attributes, kMicrosoft);
    return made.Output("y");
  };
  const Constant x = Tensor<int8_t>({1, 2}, {1, -2});
  EXPECT_THAT(Numbers(model("QLinearSigmoid", {}), {x}), ElementsAre(73, 12));
  EXPECT_THAT(Numbers(model("QLinearLeakyRelu", {FloatAttr("alpha", 0.1F)}), {x}),
              ElementsAre(100, -20));
  EXPECT_THAT(Numbers(model("QLinearSoftmax", {IntAttr("opset", 13)}), {x}), ElementsAre(95, 5));
  EXPECT_THAT(Numbers(model("QLinearSoftmax", {IntAttr("opset", 11), IntAttr("axis", 1)}), {x}),
              ElementsAre(95, 5));
  ExpectError(model("QLinearSoftmax", {IntAttr("opset", 11), IntAttr("axis", 0)}).Import(),
              kUnimplemented, {"QLinearSoftmax", "last axis"});
  ExpectError(model("QLinearSoftmax", {}).Import(), kInvalid, {"'opset' is missing"});
}

TEST(QLinearConcat, JoinsTensorsOfSeveralScales) {
  TestModel model = Model();
  model.Input("a", {"1"}, kU8).Input("b", {"1"}, kU8);
  model.Initializer(Scalar("s1", 1)).Initializer(Scalar("s2", 2));
  model.Initializer(ByteTensor("z", kU8, {}, {1}));
  model.Node("QLinearConcat", {"s1", "z", "a", "s2", "z", "b", "s1", "z"}, {"y"},
             {IntAttr("axis", 0)}, kMicrosoft);
  model.Output("y");
  EXPECT_THAT(Numbers(model, {Tensor<uint8_t>({1}, {4}), Tensor<uint8_t>({1}, {9})}),
              ElementsAre(7, 9));
}

TEST(QLinear, RefusesScalesOfWhichItTakesOne) {
  TestModel model =
      ProductModel(FloatTensor("bs", {2}, {2, 1}), ByteTensor("bz", kI8, {2}, {0, 0}));
  model.Node("QLinearAdd", {"a", "as", "az", "b", "bs", "bz", "ys", "yz"}, {"y"}, {}, kMicrosoft);
  ExpectError(model.Output("y").Import(), kUnimplemented,
              {"node 'y' (QLinearAdd)", "several scales"});
}

TEST(MicrosoftDomain, NamesWhatItDoesNotHave) {
  TestModel model = Model();
  model.Input("x", {"1"}).Node("QAttention", {"x"}, {"y"}, {}, kMicrosoft).Output("y");
  ExpectError(model.Import(), kUnimplemented,
              {"node 'y' (QAttention)", "domain 'com.microsoft'", "standard operators"});
}

// Products of integers, and quantization at run time.

TEST(MatMulInteger, SubtractsZeroPoints) {
  TestModel model = ProductModel(Scalar("bs", 2), ByteTensor("bz", kI8, {2}, {1, 0}));
  model.Node("MatMulInteger", {"a", "b", "az", "bz"}, {"y"}).Output("y");
  const auto outputs = RunModel(model.Import(), {A()});
  ASSERT_EQ(outputs.size(), 1U);
  // {2, 0, -1, 4} times {0, -2, 2, 4}
  EXPECT_THAT(Values<int32_t>(outputs[0]), ElementsAre(0, -4, 8, 18));
  EXPECT_EQ(Count(model, "Cast"), 1);
}

// 600 products of 255 · 127 pass 2^24, where f32 would round the odd sum.
TEST(MatMulInteger, IsExactBeyondTheIntegersOfFloats) {
  constexpr int64_t kProducts = 600;
  std::vector<int32_t> weights(kProducts, 127);
  weights.back() = 126;
  std::vector<uint8_t> a(kProducts, 255);
  const int32_t expected = (kProducts - 1) * 255 * 127 + 255 * 126;
  ASSERT_NE(static_cast<int32_t>(static_cast<float>(expected)), expected);
  TestModel model = Model();
  model.Input("a", {"1", "600"}, kU8);
  model.Initializer(ByteTensor("b", kI8, {kProducts, 1}, weights));
  model.Node("MatMulInteger", {"a", "b"}, {"y"}).Output("y");
  const auto outputs = RunModel(model.Import(), {Tensor<uint8_t>({1, kProducts}, a)});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<int32_t>(outputs[0]), ElementsAre(expected));
}

TEST(ConvInteger, SubtractsZeroPoints) {
  TestModel model = Model();
  model.Input("x", {"1", "1", "3"}, kU8);
  model.Initializer(ByteTensor("w", kU8, {1, 1, 2}, {3, 1}))
      .Initializer(ByteTensor("xz", kU8, {}, {1}));
  model.Initializer(ByteTensor("wz", kU8, {}, {2}));
  model.Node("ConvInteger", {"x", "w", "xz", "wz"}, {"y"}).Output("y");
  const auto outputs = RunModel(model.Import(), {Tensor<uint8_t>({1, 1, 3}, {5, 1, 3})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<int32_t>(outputs[0]), ElementsAre(4, -2));
}

TEST(DynamicQuantizeLinear, ComputesItsThreeOutputs) {
  TestModel model = Model();
  model.Input("x", {"N"}).Node("DynamicQuantizeLinear", {"x"}, {"y", "s", "z"});
  model.Output("y").Output("s").Output("z");
  // The example of ONNX's documents.
  auto outputs = RunModel(model.Import(), {Tensor<float>({6}, {0, 2, -3, -2.5F, 1.34F, 0.5F})});
  ASSERT_EQ(outputs.size(), 3U);
  EXPECT_THAT(Values<uint8_t>(outputs[0]), ElementsAre(153, 255, 0, 26, 221, 179));
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(FloatNear(0.0196078438F, 1e-9F)));
  EXPECT_THAT(Values<uint8_t>(outputs[2]), ElementsAre(153));
  // 0 is always in the range.
  outputs = RunModel(model.Import(), {Tensor<float>({2}, {-1, -2.1F})});
  ASSERT_EQ(outputs.size(), 3U);
  EXPECT_THAT(Values<uint8_t>(outputs[2]), ElementsAre(255));
  outputs = RunModel(model.Import(), {Tensor<float>({2}, {0, 0})});
  ASSERT_EQ(outputs.size(), 3U);
  EXPECT_THAT(Values<uint8_t>(outputs[0]), ElementsAre(0, 0));
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(1));
}

TEST(DynamicQuantizeMatMul, AddsItsBias) {
  TestModel model = Model();
  model.Input("a", {"1", "2"}).Initializer(ByteTensor("b", kI8, {2, 1}, {2, -1}));
  model.Initializer(Scalar("bs", 0.5F)).Initializer(FloatTensor("bias", {1}, {10}));
  model.Node("DynamicQuantizeMatMul", {"a", "b", "bs", "", "bias"}, {"y"}, {}, kMicrosoft);
  model.Output("y");
  EXPECT_THAT(Numbers(model, {Tensor<float>({1, 2}, {255, 100.4F})}), ElementsAre(255 - 50 + 10));
}

TEST(MatMulIntegerToFloat, ScalesAndAddsItsBias) {
  TestModel model =
      ProductModel(FloatTensor("bs", {2}, {2, 1}), ByteTensor("bz", kI8, {2}, {0, 2}));
  model.Initializer(FloatTensor("bias", {2}, {1, 2}));
  model.Node("MatMulIntegerToFloat", {"a", "b", "as", "bs", "az", "bz", "bias"}, {"y"}, {},
             kMicrosoft);
  EXPECT_THAT(Numbers(model.Output("y"), {A()}), ElementsAre(3, -2, 12, 8));
}

// One step, one feature, one hidden unit, both directions: weights are LSTM's, turned around.
TEST(DynamicQuantizeLstm, IsTheLstmOfItsWeights) {
  const auto model = [](bool quantized, bool per_row) {
    TestModel made = Model();
    made.Input("x", {"1", "1", "1"});
    const std::vector<int32_t> w = {1, 2, 3, 4, 5, 6, 7, 8};
    const std::vector<int32_t> r(8, 1);
    const std::vector<onnx::AttributeProto> attributes = {IntAttr("hidden_size", 1),
                                                          StringAttr("direction", "bidirectional")};
    std::vector<float> scales = {0.5F, 0.25F};
    if (per_row) scales = {0.5F, 0.5F, 0.5F, 0.5F, 0.25F, 0.25F, 0.25F, 0.25F};
    if (quantized) {
      const std::vector<int64_t> dims =
          per_row ? std::vector<int64_t>{2, 4} : std::vector<int64_t>{2};
      made.Initializer(ByteTensor("w", kI8, {2, 1, 4}, w));
      made.Initializer(ByteTensor("r", kI8, {2, 1, 4}, r));
      made.Initializer(FloatTensor("s", dims, scales));
      made.Initializer(ByteTensor("z", kI8, dims, std::vector<int32_t>(scales.size(), 0)));
      made.Node("DynamicQuantizeLSTM", {"x", "w", "r", "", "", "", "", "", "s", "z", "s", "z"},
                {"y"}, attributes, kMicrosoft);
    } else {
      made.Initializer(FloatTensor("w", {2, 4, 1}, {0.5F, 1, 1.5F, 2, 1.25F, 1.5F, 1.75F, 2}));
      made.Initializer(
          FloatTensor("r", {2, 4, 1}, {0.5F, 0.5F, 0.5F, 0.5F, 0.25F, 0.25F, 0.25F, 0.25F}));
      made.Node("LSTM", {"x", "w", "r"}, {"y"}, attributes);
    }
    return made.Output("y");
  };
  const Constant x = Tensor<float>({1, 1, 1}, {0.7F});
  const auto expected = Numbers(model(false, false), {x});
  ASSERT_EQ(expected.size(), 2U);
  EXPECT_EQ(Numbers(model(true, false), {x}), expected);
  EXPECT_EQ(Numbers(model(true, true), {x}), expected);
}

TEST(DynamicQuantizeLstm, RefusesWeightsThatAreNotConstant) {
  TestModel model = Model();
  model.Input("x", {"1", "1", "1"}).Input("w", {"1", "1", "4"}, kI8);
  model.Initializer(FloatTensor("s", {1}, {1}));
  model.Node("DynamicQuantizeLSTM", {"x", "w", "w", "", "", "", "", "", "s", "", "s"}, {"y"},
             {IntAttr("hidden_size", 1)}, kMicrosoft);
  ExpectError(model.Output("y").Import(), kUnimplemented, {"node 'y'", "constant weights"});
}

}  // namespace
}  // namespace verdict
