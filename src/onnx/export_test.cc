#include "onnx/export.h"

#include <limits>

#include "onnx/model_builder_test.h"
#include "ops/infer.h"

// A graph that is exported and imported again computes what it did.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kUnimplemented = StatusCode::kUnimplemented;

/// The exported model, parsed; empty where the export failed.
onnx::ModelProto Parsed(const Graph& graph, const ExportOptions& options = {}) {
  onnx::ModelProto proto;
  const auto bytes = ExportOnnx(graph, options);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  if (bytes.ok()) {
    EXPECT_TRUE(proto.ParseFromString(*bytes));
  }
  return proto;
}

std::vector<std::string> OpsOf(const onnx::ModelProto& model) {
  std::vector<std::string> ops;
  for (const auto& node : model.graph().node()) ops.push_back(node.op_type());
  return ops;
}

Result<ImportedModel> Again(const Graph& graph) {
  const auto bytes = ExportOnnx(graph);
  if (!bytes.ok()) return bytes.status();
  return ImportOnnxBytes(std::as_bytes(std::span(*bytes)), {}, "again.onnx");
}

/// Expects the same outputs before and after; floats to `tolerance`.
void ExpectSame(const Graph& graph, const std::vector<Constant>& inputs, float tolerance = 1e-6F) {
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  const auto expected = Evaluate(graph, views);
  ASSERT_TRUE(expected.ok()) << expected.status().ToString();
  const auto again = Again(graph);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  const auto actual = Evaluate(again->graph, views);
  ASSERT_TRUE(actual.ok()) << actual.status().ToString();
  ASSERT_EQ(actual->size(), expected->size());
  for (size_t i = 0; i < actual->size(); ++i) {
    const Constant& want = (*expected)[i];
    const Constant& have = (*actual)[i];
    EXPECT_EQ(again->graph.value(again->graph.outputs[i]).name, graph.value(graph.outputs[i]).name);
    ASSERT_EQ(have.dtype, want.dtype);
    ASSERT_EQ(have.shape, want.shape);
    if (want.dtype == DataType::kFloat32) {
      EXPECT_THAT(Values<float>(have),
                  testing::Pointwise(testing::FloatNear(tolerance), Values<float>(want)));
    } else if (want.dtype == DataType::kInt64) {
      EXPECT_EQ(Values<int64_t>(have), Values<int64_t>(want));
    } else if (want.dtype == DataType::kString) {
      EXPECT_EQ(Values<std::string_view>(have), Values<std::string_view>(want));
    }
  }
}

void ExpectSame(const TestModel& model, const std::vector<Constant>& inputs,
                float tolerance = 1e-6F) {
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  ExpectSame(imported->graph, inputs, tolerance);
}

/// Expects that the export is refused with kUnimplemented, naming node 'y'.
void ExpectRefused(const TestModel& model, const std::string& reason) {
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const auto bytes = ExportOnnx(imported->graph);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().code(), kUnimplemented);
  EXPECT_THAT(bytes.status().message(), HasSubstr("node 'y'"));
  EXPECT_THAT(bytes.status().message(), HasSubstr(reason));
}

/// A graph of one node of an operator of our own, `constants` after its input x.
Graph OneNode(const std::string& op, const Shape& x, const std::vector<Constant>& constants,
              const Attributes& attributes, size_t outputs = 1) {
  Graph graph;
  graph.name = "test";
  Node node{.name = "n",
            .op = op,
            .inputs = {graph.AddInput("x", DataType::kFloat32, x)},
            .attributes = attributes};
  for (const Constant& constant : constants) {
    node.inputs.push_back(graph.AddConstant("c", constant));
  }
  for (size_t i = 0; i < outputs; ++i) {
    node.outputs.push_back(graph.AddValue("y" + std::to_string(i), DataType::kUndefined, {}));
  }
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  const Status status = InferShapes(graph);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return graph;
}

TEST(ExportOnnx, KeepsNamesShapesAndProperties) {
  TestModel model;
  model.Input("x", {"N", "2"}).Initializer(FloatTensor("w", {2, 1}, {1, 2}));
  model.Node("MatMul", {"x", "w"}, {"y"}).Output("y", {"N", "1"});
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const onnx::ModelProto proto =
      Parsed(imported->graph, {.producer_version = "1.2", .properties = {{"author", "me"}}});
  EXPECT_EQ(proto.ir_version(), 8);
  EXPECT_EQ(proto.producer_name(), "verdict");
  EXPECT_EQ(proto.producer_version(), "1.2");
  ASSERT_EQ(proto.opset_import_size(), 1);
  EXPECT_EQ(proto.opset_import(0).domain(), "");
  EXPECT_EQ(proto.opset_import(0).version(), 17);
  ASSERT_EQ(proto.metadata_props_size(), 1);
  EXPECT_EQ(proto.metadata_props(0).key(), "author");
  EXPECT_EQ(proto.graph().name(), "test");
  EXPECT_EQ(proto.graph().input(0).name(), "x");
  const auto& dims = proto.graph().input(0).type().tensor_type().shape();
  EXPECT_EQ(dims.dim(0).dim_param(), "N");
  EXPECT_EQ(dims.dim(1).dim_value(), 2);
  EXPECT_EQ(proto.graph().output(0).name(), "y");
  EXPECT_EQ(proto.graph().output(0).type().tensor_type().shape().dim(0).dim_param(), "N");
  EXPECT_EQ(proto.graph().initializer(0).name(), "w");
}

TEST(ExportOnnx, WritesTheSameBytesForTheSameGraph) {
  const Graph graph = OneNode("Gelu", {2}, {}, {});
  EXPECT_EQ(*ExportOnnx(graph), *ExportOnnx(graph));
}

TEST(ExportOnnx, KeepsQuantization) {
  TestModel model;
  model.Input("x", {"N", "2"}).Initializer(FloatTensor("s", {}, {0.5F}));
  model.Initializer(ByteTensor("z", onnx::TensorProto::INT8, {}, {0}));
  model.Initializer(ByteTensor("w", onnx::TensorProto::INT8, {2, 2}, {1, 2, 3, -4}));
  model.Initializer(FloatTensor("ws", {2}, {0.25F, 2}));
  model.Node("QuantizeLinear", {"x", "s", "z"}, {"q"});
  model.Node("DequantizeLinear", {"q", "s", "z"}, {"d"});
  model.Node("DequantizeLinear", {"w", "ws"}, {"wd"}, {IntAttr("axis", 1)});
  model.Node("MatMul", {"d", "wd"}, {"y"}).Output("y");
  ExpectSame(model, {Tensor<float>({1, 2}, {1.2F, -3})});
  EXPECT_THAT(OpsOf(Parsed(model.Import()->graph)),
              ElementsAre("QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "MatMul"));
}

// TensorRT's parser takes no DequantizeLinear without one.
TEST(ExportDequantizeLinear, HasAZeroPointForEachScale) {
  TestModel model;
  model.Input("x", {"2"})
      .Initializer(ByteTensor("w", onnx::TensorProto::INT8, {2, 2}, {1, 2, 3, -4}));
  model.Initializer(FloatTensor("s", {2}, {0.25F, 2}));
  model.Node("DequantizeLinear", {"w", "s"}, {"d"}, {IntAttr("axis", 1)});
  model.Node("Add", {"x", "d"}, {"y"}).Output("y");
  ExpectSame(model, {Tensor<float>({2}, {1, -3})});
  const onnx::ModelProto proto = Parsed(model.Import()->graph);
  ASSERT_EQ(proto.graph().node(0).input_size(), 3);
  const auto& tensors = proto.graph().initializer();
  const auto zeros = std::ranges::find(tensors, proto.graph().node(0).input(2),
                                       [](const auto& tensor) { return tensor.name(); });
  ASSERT_NE(zeros, tensors.end());
  EXPECT_EQ(zeros->data_type(), onnx::TensorProto::INT8);
  EXPECT_THAT(zeros->dims(), ElementsAre(2));
  EXPECT_EQ(zeros->raw_data(), std::string(2, '\0'));
}

// OpenVINO and TensorRT 8.5 want constants there.
TEST(ExportDequantizeLinear, OfRecurrentWeightsIsComputed) {
  TestModel model;
  model.Input("x", {"3", "N", "1"}).Initializer(FloatTensor("s", {3}, {0.25F, 2, 0.5F}));
  model.Initializer(ByteTensor("wq", onnx::TensorProto::INT8, {1, 3, 1}, {1, -1, 2}));
  model.Initializer(ByteTensor("rq", onnx::TensorProto::INT8, {1, 3, 1}, {3, 1, -2}));
  model.Node("DequantizeLinear", {"wq", "s"}, {"w"}, {IntAttr("axis", 1)});
  model.Node("DequantizeLinear", {"rq", "s"}, {"r"}, {IntAttr("axis", 1)});
  model.Node("GRU", {"x", "w", "r"}, {"y"}, {IntAttr("hidden_size", 1)}).Output("y");
  ExpectSame(model, {Tensor<float>({3, 1, 1}, {1, -2, 0.5F})});
  const onnx::ModelProto proto = Parsed(model.Import()->graph);
  EXPECT_THAT(OpsOf(proto), ElementsAre("GRU"));
  ASSERT_EQ(proto.graph().initializer_size(), 2);
  EXPECT_EQ(proto.graph().initializer(0).name(), "w");
  EXPECT_EQ(proto.graph().initializer(0).data_type(), onnx::TensorProto::FLOAT);
}

// TensorRT 8.5 takes an int8 constant before a DequantizeLinear alone.
TEST(ExportDequantizeLinear, OfATableComesBeforeItsRowsAreTaken) {
  TestModel model;
  model.Input("ids", {"N"}, onnx::TensorProto::INT64);
  model.Initializer(ByteTensor("t", onnx::TensorProto::INT8, {3, 2}, {1, 2, 3, -4, 5, 6}));
  model.Initializer(FloatTensor("s", {2}, {0.25F, 2}));
  model.Node("Gather", {"t", "ids"}, {"rows"});
  model.Node("DequantizeLinear", {"rows", "s"}, {"y"}, {IntAttr("axis", 1)}).Output("y");
  ExpectSame(model, {Tensor<int64_t>({3}, {2, 0, 1})});
  EXPECT_THAT(OpsOf(Parsed(model.Import()->graph)), ElementsAre("DequantizeLinear", "Gather"));
}

// Of int32 ONNX allows no zero point.
TEST(ExportDequantizeLinear, HasNoZeroPointForBiases) {
  TestModel model;
  model.Input("x", {"2"}).Initializer(ByteTensor("b", onnx::TensorProto::INT32, {2}, {100, -7}));
  model.Initializer(FloatTensor("s", {}, {0.25F}));
  model.Node("DequantizeLinear", {"b", "s"}, {"d"});
  model.Node("Add", {"x", "d"}, {"y"}).Output("y");
  ExpectSame(model, {Tensor<float>({2}, {1, -3})});
  EXPECT_EQ(Parsed(model.Import()->graph).graph().node(0).input_size(), 2);
}

TEST(ExportOnnx, CopiesAConstantToTheOutputItIs) {
  Graph graph = OneNode("Relu", {1}, {}, {});
  graph.outputs.push_back(graph.AddConstant("c", Tensor<float>({2}, {3, 4})));
  ExpectSame(graph, {Tensor<float>({1}, {-1})});
}

TEST(ExportOnnx, WritesConstantsOfEveryType) {
  TestModel model;
  model.Input("x", {"1"}, onnx::TensorProto::INT64);
  model.Initializer(BoolTensor("b", true));
  onnx::TensorProto text;
  text.set_name("t");
  text.set_data_type(onnx::TensorProto::STRING);
  text.add_dims(2);
  text.add_string_data("one");
  text.add_string_data(std::string("t\0o", 3));
  model.Initializer(text).Initializer(IntTensor("none", {0}, {}));
  model.Node("Gather", {"t", "x"}, {"y"}).Output("y");
  model.Node("Where", {"b", "x", "x"}, {"z"}).Output("z");
  model.Node("Concat", {"x", "none"}, {"c"}, {IntAttr("axis", 0)}).Output("c");
  ExpectSame(model, {Ints({1})});
}

TEST(ExportFusedGemm, IsAProductASumAndAnActivation) {
  const std::vector<Constant> constants = {Tensor<float>({2, 2}, {1, -2, 3, 4}),
                                           Tensor<float>({2}, {0.5F, -1})};
  const Constant x = Tensor<float>({2, 2}, {1, -1, 0.3F, 0.2F});
  for (const char* activation :
       {"", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "GeluTanh", "Silu", "Elu"}) {
    ExpectSame(OneNode("FusedGemm", {2, 2}, constants,
                       {{"activation", std::string(activation)}, {"alpha", 0.3F}}),
               {x});
  }
  const Graph plain = OneNode("FusedGemm", {2, 2}, {constants[0]}, {});
  ExpectSame(plain, {x});
  EXPECT_THAT(OpsOf(Parsed(plain)), ElementsAre("MatMul"));
  const Graph relu = OneNode("FusedGemm", {2, 2}, constants, {{"activation", std::string("Relu")}});
  EXPECT_THAT(OpsOf(Parsed(relu)), ElementsAre("MatMul", "Add", "Relu"));
}

TEST(ExportLayers, SayWhatTheyStandFor) {
  const Constant x = Tensor<float>({1, 4, 1}, {-1, 0.5F, 2, 3});
  const Constant scale = Tensor<float>({4}, {1, 2, 3, 4});
  const Constant bias = Tensor<float>({4}, {0, 1, 0, -1});
  ExpectSame(OneNode("Gelu", {1, 4, 1}, {}, {}), {x});
  ExpectSame(OneNode("Gelu", {1, 4, 1}, {}, {{"approximate", std::string("tanh")}}), {x});
  ExpectSame(OneNode("Mish", {1, 4, 1}, {}, {}), {x});
  ExpectSame(OneNode("Swish", {1, 4, 1}, {}, {{"alpha", 0.5F}}), {x});
  ExpectSame(OneNode("GroupNormalization", {1, 4, 1}, {scale, bias},
                     {{"num_groups", int64_t{2}}, {"epsilon", 0.1F}}),
             {x}, 1e-5F);
  ExpectSame(OneNode("RMSNormalization", {1, 4}, {scale}, {{"epsilon", 0.1F}}),
             {Tensor<float>({1, 4}, {-1, 0.5F, 2, 3})});
}

/// Attention of x, which is Q, K and V, with this mask.
Graph AttentionGraph(const Shape& shape, const Attributes& attributes, const Constant& mask = {}) {
  Graph graph = OneNode("Identity", shape, {}, {});
  const ValueId x = graph.inputs[0];
  Node& node = graph.nodes[0];
  node.op = "Attention";
  node.inputs = {x, x, x};
  node.attributes = attributes;
  if (mask.data != nullptr) node.inputs.push_back(graph.AddConstant("mask", mask));
  const Status status = InferShapes(graph);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return graph;
}

TEST(ExportAttention, IsSoftmaxOfScores) {
  const Attributes heads = {{"q_num_heads", int64_t{2}}, {"kv_num_heads", int64_t{2}}};
  Attributes causal = heads;
  causal["is_causal"] = int64_t{1};
  causal["softcap"] = 0.5F;
  const Constant x = Tensor<float>({1, 3, 4}, {1, 2, 0, -1, 0.5F, 1, 1, 0, -1, 0.2F, 0.3F, 2});
  const Constant some = Bools({3, 3}, {true, false, true, false, false, false, true, true, true});
  const Constant added = Tensor<float>({3, 3}, {0, 1, 2, -1, 0, 3, 0, 0, 1});
  ExpectSame(AttentionGraph({1, 3, 4}, heads), {x});
  ExpectSame(AttentionGraph({1, 3, 4}, causal), {x});
  ExpectSame(AttentionGraph({1, 3, 4}, heads, some), {x});
  ExpectSame(AttentionGraph({1, 3, 4}, causal, added), {x});
  Attributes as_add = heads;
  as_add["mask_as_add"] = int64_t{1};
  ExpectSame(AttentionGraph({1, 3, 4}, as_add, added), {x});
  ExpectSame(AttentionGraph({1, 3, 4}, as_add, Tensor<float>({3, 1}, {0.5F, -1, 2})), {x});
  ExpectSame(AttentionGraph({1, 1, 3, 4}, {{"scale", 0.7F}}),
             {Tensor<float>({1, 1, 3, 4}, Values<float>(x))});
}

TEST(ExportVersions, SayItInVersion17) {
  const auto model = [](const std::string& op, const std::vector<std::string>& more,
                        const std::vector<onnx::AttributeProto>& attributes) {
    TestModel made(21);
    std::vector<std::string> inputs = {"x"};
    inputs.insert(inputs.end(), more.begin(), more.end());
    made.Input("x", {"2", "3"}).Initializer(IntTensor("axes", {1}, {-1}));
    made.Initializer(IntTensor("pads", {2}, {1, 2})).Initializer(FloatTensor("v", {}, {9}));
    made.Node(op, inputs, {"y"}, attributes).Output("y");
    return made;
  };
  const Constant x = Iota({2, 3});
  ExpectSame(model("ReduceMax", {"axes"}, {}), {x});
  ExpectSame(model("ReduceMean", {"axes"}, {IntAttr("keepdims", 0)}), {x});
  ExpectSame(model("ReduceSum", {"axes"}, {}), {x});
  ExpectSame(model("ReduceL2", {}, {}), {x});
  ExpectSame(model("Pad", {"pads", "v", "axes"}, {}), {x});
  ExpectSame(model("Pad", {"pads", "", "axes"}, {StringAttr("mode", "edge")}), {x});
  ExpectRefused(model("ReduceL2", {}, {IntAttr("noop_with_empty_axes", 1)}), "without axes");
  ExpectRefused(model("Pad", {"pads", "", "axes"}, {StringAttr("mode", "wrap")}), "'wrap'");
}

TEST(ExportVersions, SplitsUnevenly) {
  for (const char* extent : {"7", "6", "N"}) {
    TestModel model(18);
    model.Input("x", {extent}).Node("Split", {"x"}, {"a", "", "c"}, {IntAttr("num_outputs", 3)});
    ExpectSame(model.Output("a").Output("c"), {Iota({extent[0] == '7' ? 7 : 6})});
  }
}

TEST(ExportVersions, FillsShapes) {
  TestModel model;
  model.Input("n", {"1"}, onnx::TensorProto::INT64);
  model.Node("ConstantOfShape", {"n"}, {"y"}, {TensorAttr("value", IntTensor("", {1}, {7}))});
  model.Node("ConstantOfShape", {"n"}, {"z"}).Output("y").Output("z");
  ExpectSame(model, {Ints({3})});
}

TEST(ExportVersions, RefuseWhatVersion17DoesNotHave) {
  TestModel scatter(18);
  scatter.Input("x", {"3"}).Initializer(IntTensor("i", {1}, {0}));
  scatter.Initializer(FloatTensor("u", {1}, {5}));
  scatter.Node("ScatterElements", {"x", "i", "u"}, {"y"}, {StringAttr("reduction", "max")});
  ExpectRefused(scatter.Output("y"), "reduction 'max'");
  TestModel pool(19);
  pool.Input("x", {"1", "1", "4"});
  pool.Node("AveragePool", {"x"}, {"y"},
            {IntsAttr("kernel_shape", {2}), IntsAttr("dilations", {2})});
  ExpectRefused(pool.Output("y"), "dilations");
}

TEST(ExportFeatures, PutConstantsIntoAttributes) {
  TestModel model;
  model.Input("x", {"N", "2"}).Input("t", {"N"}, onnx::TensorProto::STRING);
  model.MlNode("Scaler", {"x"}, {"scaled"},
               {FloatsAttr("offset", {1, 2}), FloatsAttr("scale", {2, 0.5F})});
  model.MlNode("Imputer", {"scaled"}, {"y"},
               {FloatsAttr("imputed_value_floats", {7, 8}), FloatAttr("replaced_value_float", 0)});
  model.MlNode("LabelEncoder", {"t"}, {"code"},
               {StringsAttr("keys_strings", {"b", "a"}), IntsAttr("values_int64s", {1, 2}),
                IntAttr("default_int64", 9)});
  model.MlNode("OneHotEncoder", {"t"}, {"hot"},
               {StringsAttr("cats_strings", {"a", "c"}), IntAttr("zeros", 1)});
  model.MlNode("Normalizer", {"x"}, {"norm"}, {StringAttr("norm", "L1")});
  for (const char* name : {"y", "code", "hot", "norm"}) model.Output(name);
  const std::vector<Constant> inputs = {Tensor<float>({3, 2}, {1, 2, 3, 4, -5, 6}),
                                        Constant::OfStrings({3}, {"a", "b", "c"})};
  ExpectSame(model, inputs);
  const onnx::ModelProto proto = Parsed(model.Import()->graph);
  ASSERT_EQ(proto.opset_import_size(), 2);
  EXPECT_EQ(proto.opset_import(1).domain(), "ai.onnx.ml");
  EXPECT_EQ(proto.opset_import(1).version(), 3);
}

// OpenVINO and TensorRT read nothing of ai.onnx.ml.
TEST(ExportFeatures, NeedNoFeatureOperatorsWhereOthersSayTheSame) {
  for (const std::vector<int64_t>& x : {std::vector<int64_t>{3}, {2, 3}}) {
    for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2}, {1, 2}}) {
      TestModel model;
      model.Input("z", {"1"}).Initializer(FloatTensor("x", x, {1, 2, 3, 4, 5, 6}));
      model.graph().mutable_initializer(0)->mutable_float_data()->Truncate(x.size() == 1 ? 3 : 6);
      model.Initializer(IntTensor("i", dims, {2, 0}));
      model.MlNode("ArrayFeatureExtractor", {"x", "i"}, {"picked"});
      model.MlNode("Scaler", {"picked"}, {"scaled"},
                   {FloatsAttr("offset", {1, 2}), FloatsAttr("scale", {2, 0.5F})});
      model.Node("Add", {"scaled", "z"}, {"y"}).Output("y");
      ExpectSame(model, {Tensor<float>({1}, {0})});
      EXPECT_EQ(Parsed(model.Import()->graph).opset_import_size(), 1);
    }
  }
}

TEST(ExportClassifier, ComputesLabelsAndScores) {
  const Constant numbers = Ints({4, 7});
  const Constant names = Constant::OfStrings({2}, {"ham", "spam"});
  const Constant one = Tensor<float>({3, 1}, {-1, 0.5F, 2});
  const Constant two = Tensor<float>({2, 2}, {1, 2, 3, -1});
  const auto graph = [](const Shape& x, const Constant& labels, const std::string& transform,
                        int64_t complement) {
    return OneNode(
        "ClassifierOutput", x, {labels},
        {{"post_transform", transform}, {"complement", complement}, {"label_threshold", 0.5F}}, 2);
  };
  for (const char* transform : {"NONE", "LOGISTIC", "SOFTMAX"}) {
    ExpectSame(graph({3, 1}, numbers, transform, 0), {one});
    ExpectSame(graph({3, 1}, names, transform, 1), {one});
    ExpectSame(graph({2, 2}, names, transform, 0), {two});
  }
  const auto refused = ExportOnnx(graph({2, 2}, names, "PROBIT", 0));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), kUnimplemented);
  EXPECT_THAT(refused.status().message(), HasSubstr("node 'n' (ClassifierOutput)"));
}

/// Three trees: the first two share leaf 0; the third is a leaf. One node sends NaN to the right.
template <typename T>
Graph Trees(const std::string& aggregate) {
  const std::vector<Constant> tables = {
      Tensor<int32_t>({3}, {0, 1, 0}),        // feature_ids
      Tensor<T>({3}, {T(0.5), T(-1), T(2)}),  // splits
      Tensor<uint8_t>({3}, {0, 1, 3}),        // modes
      Tensor<int32_t>({3}, {1, -1, -1}),      // true_ids
      Tensor<int32_t>({3}, {-2, -3, -4}),     // false_ids
      Tensor<uint8_t>({3}, {0, 1, 0}),        // missing_true
      Tensor<int32_t>({3}, {0, 2, -2}),       // roots
      Tensor<int32_t>({5}, {0, 2, 3, 4, 5}),  // leaf_offsets
      Tensor<int32_t>({5}, {0, 1, 1, 0, 1}),  // leaf_targets
      Tensor<T>({5}, {1, T(0.25), T(2.5), -3, T(1.125)}),
      Tensor<T>({2}, {T(10), T(20)}),
  };
  return OneNode("TreeEnsemble", {4, 2}, tables,
                 {{"aggregate", aggregate}, {"features", int64_t{2}}, {"targets", int64_t{2}}});
}

TEST(ExportTrees, ListsThemTreeByTree) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Constant x = Tensor<float>({4, 2}, {0, -2, 0.4F, nan, 3, 0, nan, 1});
  for (const char* aggregate : {"SUM", "AVERAGE", "MIN", "MAX"}) {
    ExpectSame(Trees<float>(aggregate), {x});
    ExpectSame(Trees<double>(aggregate), {x});
  }
  const onnx::ModelProto proto = Parsed(Trees<float>("SUM"));
  ASSERT_EQ(proto.graph().node_size(), 1);
  EXPECT_EQ(proto.graph().node(0).op_type(), "TreeEnsembleRegressor");
  EXPECT_THAT(OpsOf(Parsed(Trees<double>("SUM"))), ElementsAre("Cast", "TreeEnsembleRegressor"));
}

TEST(ExportOnnx, NamesNodesItCannotWrite) {
  Graph graph = OneNode("Relu", {1}, {}, {});
  graph.nodes[0].op = "NobodysOperator";
  const auto bytes = ExportOnnx(graph);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().code(), kUnimplemented);
  EXPECT_THAT(bytes.status().message(), HasSubstr("node 'n' (NobodysOperator)"));
}

}  // namespace
}  // namespace verdict
