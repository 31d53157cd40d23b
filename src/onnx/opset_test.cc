#include "onnx/model_builder_test.h"
#include "onnx/opset_table.h"

// Old operator versions mean the same as before once they are translated.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::FloatNear;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;

/// A model of one operator: y = OP(x, ...), x of shape `dims`.
TestModel OneNode(int64_t opset, const std::vector<std::string>& dims, const std::string& op,
                  const std::vector<onnx::AttributeProto>& attributes,
                  const std::vector<std::string>& more_inputs = {}) {
  TestModel model(opset);
  std::vector<std::string> inputs = {"x"};
  inputs.insert(inputs.end(), more_inputs.begin(), more_inputs.end());
  model.Input("x", dims).Node(op, inputs, {"y"}, attributes).Output("y");
  return model;
}

struct Output {
  Shape shape;
  std::vector<float> values;
};

Output RunOnce(const TestModel& model, const Shape& shape, const std::vector<float>& x) {
  const auto outputs = RunModel(model.Import(), {Tensor<float>(shape, x)});
  if (outputs.empty()) return {};
  return {outputs[0].shape, Values<float>(outputs[0])};
}

TEST(OpsetTable, ListsOperatorsInOrder) {
  EXPECT_EQ(FirstVersion(kOnnxDomain, "Abs"), 1);
  EXPECT_EQ(FirstVersion(kOnnxDomain, "Xor"), 1);
  EXPECT_EQ(FirstVersion(kOnnxDomain, "Attention"), 23);
  EXPECT_EQ(FirstVersion(kMlDomain, "ZipMap"), 1);
  EXPECT_EQ(FirstVersion(kMlDomain, "Abs"), 0);
  EXPECT_EQ(FirstVersion(kOnnxDomain, "ZipMap"), 0);
}

TEST(OpsetTable, MovesAxesToAnInput) {
  const auto squeezed =
      RunOnce(OneNode(11, {"1", "2", "1"}, "Squeeze", {IntsAttr("axes", {0})}), {1, 2, 1}, {1, 2});
  EXPECT_EQ(squeezed.shape, Shape({2, 1}));
  EXPECT_EQ(RunOnce(OneNode(11, {"1", "2", "1"}, "Squeeze", {}), {1, 2, 1}, {1, 2}).shape,
            Shape({2}));
  EXPECT_EQ(RunOnce(OneNode(11, {"2"}, "Unsqueeze", {IntsAttr("axes", {0, 2})}), {2}, {1, 2}).shape,
            Shape({1, 2, 1}));
  const auto sum =
      RunOnce(OneNode(12, {"2", "2"}, "ReduceSum", {IntsAttr("axes", {1}), IntAttr("keepdims", 0)}),
              {2, 2}, {1, 2, 3, 4});
  EXPECT_THAT(sum.values, ElementsAre(3, 7));
  const auto max =
      RunOnce(OneNode(17, {"2", "2"}, "ReduceMax", {IntsAttr("axes", {0}), IntAttr("keepdims", 0)}),
              {2, 2}, {1, 4, 3, 2});
  EXPECT_THAT(max.values, ElementsAre(3, 4));
  EXPECT_THAT(
      RunOnce(OneNode(17, {"2", "2"}, "ReduceMean", {IntAttr("keepdims", 0)}), {2, 2}, {1, 2, 3, 6})
          .values,
      ElementsAre(3));
}

TEST(OpsetTable, RefusesAttributesThatAreInputsNow) {
  ExpectError(OneNode(13, {"1", "2"}, "Squeeze", {IntsAttr("axes", {0})}).Import(), kUnimplemented,
              {"node 'y' (Squeeze)", "'axes'"});
  TestModel both = OneNode(11, {"1", "2"}, "Squeeze", {IntsAttr("axes", {0})}, {"a"});
  both.Initializer(IntTensor("a", {1}, {0}));
  ExpectError(both.Import(), kInvalid, {"node 'y' (Squeeze)", "too many inputs"});
}

TEST(OpsetTable, TranslatesSliceOfVersion1) {
  const auto attributes = {IntsAttr("starts", {0, 1}), IntsAttr("ends", {1, 3})};
  const auto sliced =
      RunOnce(OneNode(9, {"2", "3"}, "Slice", attributes), {2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(sliced.shape, Shape({1, 2}));
  EXPECT_THAT(sliced.values, ElementsAre(2, 3));
  const auto last =
      RunOnce(OneNode(9, {"2", "3"}, "Slice",
                      {IntsAttr("starts", {-1}), IntsAttr("ends", {1000}), IntsAttr("axes", {1})}),
              {2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(last.values, ElementsAre(3, 6));
  ExpectError(OneNode(9, {"2"}, "Slice", {IntsAttr("starts", {0})}).Import(), kInvalid,
              {"node 'y' (Slice)", "'ends' is missing"});
}

TEST(OpsetTable, TranslatesPadOfVersion2) {
  const auto padded = RunOnce(
      OneNode(7, {"2"}, "Pad", {IntsAttr("pads", {1, 2}), FloatAttr("value", 9)}), {2}, {1, 2});
  EXPECT_THAT(padded.values, ElementsAre(9, 1, 2, 9, 9));
}

TEST(OpsetTable, TranslatesClipOfVersion6) {
  EXPECT_THAT(RunOnce(OneNode(8, {"3"}, "Clip", {FloatAttr("min", -1), FloatAttr("max", 2)}), {3},
                      {-5, 0, 5})
                  .values,
              ElementsAre(-1, 0, 2));
  EXPECT_THAT(RunOnce(OneNode(8, {"2"}, "Clip", {FloatAttr("min", 0)}), {2}, {-5, 1e30f}).values,
              ElementsAre(0, 1e30f));
}

// Thirds, also where nobody reads the last one.
TEST(OpsetTable, CountsTheOutputsThatASplitLeavesOut) {
  TestModel model(13);
  model.Input("x", {"6"}).Node("Split", {"x"}, {"a", "b", ""}).Output("b");
  EXPECT_THAT(Values<float>(RunModel(model.Import(), {Tensor<float>({6}, {0, 1, 2, 3, 4, 5})})[0]),
              ElementsAre(2, 3));
}

TEST(OpsetTable, TranslatesSplit) {
  const auto split = [](int64_t opset, const std::vector<onnx::AttributeProto>& attributes) {
    TestModel model(opset);
    model.Input("x", {"4"}).Node("Split", {"x"}, {"a", "b"}, attributes).Output("b");
    return model;
  };
  EXPECT_THAT(RunOnce(split(11, {IntsAttr("split", {1, 3})}), {4}, {1, 2, 3, 4}).values,
              ElementsAre(2, 3, 4));
  EXPECT_THAT(RunOnce(split(11, {}), {4}, {1, 2, 3, 4}).values, ElementsAre(3, 4));
  EXPECT_THAT(RunOnce(split(13, {IntAttr("axis", -1)}), {4}, {1, 2, 3, 4}).values,
              ElementsAre(3, 4));
  EXPECT_THAT(RunOnce(split(18, {IntAttr("num_outputs", 2)}), {4}, {1, 2, 3, 4}).values,
              ElementsAre(3, 4));
  TestModel uneven = split(13, {});
  uneven.graph().mutable_node(0)->add_output("c");
  ExpectError(uneven.Import(), kInvalid, {"node 'a' (Split)", "3 equal parts"});
}

TEST(OpsetTable, TranslatesTopKOfVersion1) {
  TestModel model(9);
  model.Input("x", {"3"}).Node("TopK", {"x"}, {"y", "i"}, {IntAttr("k", 2)}).Output("y");
  EXPECT_THAT(RunOnce(model, {3}, {1, 3, 2}).values, ElementsAre(3, 2));
}

// Softmax over all that follows the axis: four elements of a quarter each, not two of a half.
TEST(OpsetTable, FlattensSoftmaxBeforeVersion13) {
  const std::vector<float> zeros(8, 0);
  const auto old = RunOnce(OneNode(11, {"2", "2", "2"}, "Softmax", {}), {2, 2, 2}, zeros);
  EXPECT_EQ(old.shape, Shape({2, 2, 2}));
  EXPECT_THAT(old.values, ElementsAreArray(std::vector<float>(8, 0.25f)));
  const auto negative =
      RunOnce(OneNode(11, {"2", "2", "2"}, "Softmax", {IntAttr("axis", -3)}), {2, 2, 2}, zeros);
  EXPECT_THAT(negative.values, ElementsAreArray(std::vector<float>(8, 0.125f)));
  const auto last =
      RunOnce(OneNode(11, {"2", "2", "2"}, "Softmax", {IntAttr("axis", 2)}), {2, 2, 2}, zeros);
  EXPECT_THAT(last.values, ElementsAreArray(std::vector<float>(8, 0.5f)));
  const auto now =
      RunOnce(OneNode(13, {"2", "2", "2"}, "Softmax", {IntAttr("axis", 1)}), {2, 2, 2}, zeros);
  EXPECT_THAT(now.values, ElementsAreArray(std::vector<float>(8, 0.5f)));
  const auto log = RunOnce(OneNode(11, {"1", "2", "2"}, "LogSoftmax", {}), {1, 2, 2}, {0, 0, 0, 0});
  EXPECT_THAT(log.values[0], FloatNear(-1.3862944f, 1e-6f));
  ExpectError(OneNode(11, {"2"}, "Softmax", {IntAttr("axis", 3)}).Import(), kInvalid,
              {"node 'y' (Softmax)", "axis 3"});
}

TEST(OpsetTable, KeepsAnEmptyDimensionInOldSoftmax) {
  EXPECT_EQ(RunOnce(OneNode(11, {"1", "2", "N"}, "Softmax", {}), {1, 2, 0}, {}).shape,
            Shape({1, 2, 0}));
}

TEST(OpsetTable, KeepsABatchThatVariesInOldSoftmax) {
  const auto model = OneNode(11, {"N", "2", "2"}, "Softmax", {}).Import();
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  const Graph& graph = model->graph;
  EXPECT_EQ(graph.value(graph.outputs[0]).shape, graph.value(graph.inputs[0]).shape);
}

TEST(OpsetTable, DropsDropout) {
  for (int64_t opset : {7, 10}) {
    EXPECT_THAT(
        RunOnce(OneNode(opset, {"2"}, "Dropout", {FloatAttr("ratio", 0.9f)}), {2}, {1, 2}).values,
        ElementsAre(1, 2));
  }
  TestModel off = OneNode(13, {"2"}, "Dropout", {IntAttr("seed", 7)}, {"ratio", "training"});
  off.Initializer(FloatTensor("ratio", {}, {0.9f})).Initializer(BoolTensor("training", false));
  EXPECT_THAT(RunOnce(off, {2}, {1, 2}).values, ElementsAre(1, 2));
  *off.graph().mutable_initializer(1) = BoolTensor("training", true);
  ExpectError(off.Import(), kUnimplemented, {"node 'y' (Dropout)", "model.eval()"});
}

TEST(OpsetTable, RefusesTheMaskOfDropoutOnlyIfItIsRead) {
  TestModel model(10);
  model.Input("x", {"2"}).Node("Dropout", {"x"}, {"y", "mask"}).Output("y");
  EXPECT_THAT(RunOnce(model, {2}, {1, 2}).values, ElementsAre(1, 2));
  TestModel read = model;
  read.Node("Not", {"mask"}, {"z"});
  ExpectError(read.Import(), kUnimplemented, {"node 'z' (Not)", "'mask'", "training only"});
  model.Output("mask");
  ExpectError(model.Import(), kUnimplemented, {"output 'mask'", "training only"});
}

TestModel BatchNormalization(int64_t opset, const std::vector<std::string>& outputs,
                             const std::vector<onnx::AttributeProto>& attributes) {
  TestModel model(opset);
  model.Input("x", {"N", "2"});
  for (const char* name : {"scale", "bias", "mean", "var"}) {
    model.Initializer(FloatTensor(name, {2}, {1, 4}));
  }
  model.Node("BatchNormalization", {"x", "scale", "bias", "mean", "var"}, outputs, attributes);
  model.Output("y");
  return model;
}

TEST(OpsetTable, TranslatesBatchNormalization) {
  const auto old = BatchNormalization(
      7, {"y", "m", "v", "sm", "sv"},
      {IntAttr("spatial", 1), FloatAttr("momentum", 0.5f), FloatAttr("epsilon", 0)});
  // (x - mean) / sqrt(var) * scale + bias
  EXPECT_THAT(RunOnce(old, {1, 2}, {3, 8}).values, ElementsAre(3, 12));
  ExpectError(BatchNormalization(7, {"y"}, {IntAttr("spatial", 0)}).Import(), kUnimplemented,
              {"node 'y' (BatchNormalization)", "'spatial' is 0"});
  ExpectError(BatchNormalization(15, {"y"}, {IntAttr("training_mode", 1)}).Import(), kUnimplemented,
              {"node 'y' (BatchNormalization)", "model.eval()"});
}

// Four channels in two groups: scale and bias come per group before version 21.
TEST(OpsetTable, RepeatsScaleAndBiasOfGroupNormalization18) {
  const auto model = [](int64_t opset, const std::vector<float>& scale) {
    TestModel made = OneNode(opset, {"N", "4", "1"}, "GroupNormalization",
                             {IntAttr("num_groups", 2), FloatAttr("epsilon", 0)}, {"s", "b"});
    const auto size = static_cast<int64_t>(scale.size());
    made.Initializer(FloatTensor("s", {size}, scale));
    made.Initializer(FloatTensor("b", {size}, std::vector<float>(scale.size(), 0)));
    return made;
  };
  const Shape shape = {1, 4, 1};
  const std::vector<float> x = {1, 3, 1, 3};
  EXPECT_THAT(RunOnce(model(18, {1, 10}), shape, x).values, ElementsAre(-1, 1, -10, 10));
  EXPECT_THAT(RunOnce(model(21, {1, 1, 10, 10}), shape, x).values, ElementsAre(-1, 1, -10, 10));
  ExpectError(model(18, {1, 2, 3}).Import(), kInvalid, {"GroupNormalization", "3 groups"});
}

TEST(OpsetTable, MakesConstants) {
  const auto constant = [](const onnx::AttributeProto& attribute) {
    TestModel model;
    model.Input("x", {"1"}).Node("Constant", {}, {"c"}, {attribute});
    model.Node("Identity", {"c"}, {"y"}).Output("y");
    const auto outputs = RunModel(model.Import(), {Tensor<float>({1}, {0})});
    return outputs.empty() ? Constant{} : outputs[0];
  };
  EXPECT_THAT(Values<float>(constant(TensorAttr("value", FloatTensor("", {1}, {2})))),
              ElementsAre(2));
  const Constant number = constant(FloatAttr("value_float", 2.5f));
  EXPECT_EQ(number.shape.rank(), 0);
  EXPECT_THAT(Values<float>(number), ElementsAre(2.5f));
  EXPECT_THAT(Values<int64_t>(constant(IntAttr("value_int", 3))), ElementsAre(3));
  EXPECT_THAT(Values<int64_t>(constant(IntsAttr("value_ints", {3, 4}))), ElementsAre(3, 4));
  EXPECT_THAT(Values<float>(constant(FloatsAttr("value_floats", {3}))), ElementsAre(3));
  TestModel strings;
  strings.Input("x", {"1"}).Node("Constant", {}, {"c"}, {StringsAttr("value_strings", {"a", "b"})});
  strings.Node("Relu", {"x"}, {"y"}).Output("y");
  const auto imported = strings.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  EXPECT_THAT(Values<std::string_view>(*imported->graph.constant(imported->graph.FindValue("c"))),
              ElementsAre("a", "b"));
  TestModel none;
  none.Input("x", {"1"}).Node("Constant", {}, {"y"}).Output("y");
  ExpectError(none.Import(), kInvalid, {"node 'y' (Constant)", "one value"});
}

TEST(OpsetTable, FillsShapesWithTheValueAttribute) {
  TestModel model;
  model.Input("n", {"1"}, onnx::TensorProto::INT64);
  model.Node("ConstantOfShape", {"n"}, {"y"}, {TensorAttr("value", IntTensor("", {1}, {7}))});
  model.Node("ConstantOfShape", {"n"}, {"z"}).Output("y").Output("z");
  const auto outputs = RunModel(model.Import(), {Tensor<int64_t>({1}, {2})});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(Values<int64_t>(outputs[0]), ElementsAre(7, 7));
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(0, 0));
}

TEST(OpsetTable, CastsByOnnxNumbers) {
  TestModel model = OneNode(9, {"2"}, "Cast", {IntAttr("to", onnx::TensorProto::INT64)});
  const auto outputs = RunModel(model.Import(), {Tensor<float>({2}, {1.9f, -1.9f})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<int64_t>(outputs[0]), ElementsAre(1, -1));
  ExpectError(OneNode(19, {"2"}, "Cast", {IntAttr("to", onnx::TensorProto::FLOAT8E5M2)}).Import(),
              kUnimplemented, {"node 'y' (Cast)"});
}

TEST(OpsetTable, TakesGemmWithoutABias) {
  TestModel model = OneNode(11, {"1", "2"}, "Gemm", {IntAttr("transB", 1)}, {"w"});
  model.Initializer(FloatTensor("w", {1, 2}, {3, 4}));
  EXPECT_THAT(RunOnce(model, {1, 2}, {1, 1}).values, ElementsAre(7));
}

}  // namespace
}  // namespace verdict
