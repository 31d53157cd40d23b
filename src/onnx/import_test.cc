#include "onnx/import.h"

#include <algorithm>

#include "onnx/model_builder_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;

const std::filesystem::path kSourceDir = VERDICT_SOURCE_DIR;

std::string ValueName(const Graph& graph, ValueId id) { return graph.value(id).name; }

/// y = Relu(x), for tests of what stands around nodes.
TestModel ReluModel() {
  TestModel model;
  model.Input("x", {"N", "3"}).Node("Relu", {"x"}, {"y"}).Output("y");
  return model;
}

TEST(ImportOnnx, ImportsEveryGoldenModel) {
  std::string failures;
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSourceDir / "tests/golden")) {
    if (entry.path().extension() != ".onnx") continue;
    ++models;
    const auto model = ImportOnnx(entry.path());
    if (!model.ok()) failures += "\n  " + model.status().ToString();
  }
  EXPECT_GT(models, 0);
  EXPECT_EQ(failures, "");
}

TEST(ImportOnnx, ImportsALargeLstmWithStaticShapes) {
  const auto path = kSourceDir / "../shared/models/ibm_ccf_lstm_static.onnx";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not on this machine";
  const auto model = ImportOnnx(path);
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_THAT(model->graph.outputs, SizeIs(1));
}

TEST(ImportOnnx, NamesAMissingFile) {
  const auto model = ImportOnnx("/nowhere/fraud.onnx");
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(model.status().message(), HasSubstr("/nowhere/fraud.onnx"));
}

TEST(ImportOnnx, KeepsNamesOfDimensions) {
  TestModel model;
  model.Input("a", {"", "batch"}).Input("b", {"batch", "s0"}).Node("Relu", {"a"}, {"y"});
  model.Output("y");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const Graph& graph = imported->graph;
  const Shape& a = graph.value(graph.inputs[0]).shape;
  const Shape& b = graph.value(graph.inputs[1]).shape;
  EXPECT_EQ(graph.SymbolName(a[1]), "batch");
  EXPECT_EQ(a[1], b[0]);
  EXPECT_EQ(graph.SymbolName(b[1]), "s0");
  EXPECT_NE(a[0], b[1]) << "an unnamed dimension took somebody's name";
  EXPECT_EQ(graph.value(graph.outputs[0]).shape, a);
}

TEST(ImportOnnx, RefusesInputsItCannotType) {
  TestModel no_shape = ReluModel();
  no_shape.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape();
  ExpectError(no_shape.Import(), kInvalid, {"input 'x'", "rank"});

  TestModel sequence = ReluModel();
  sequence.graph().mutable_input(0)->mutable_type()->mutable_sequence_type();
  ExpectError(sequence.Import(), kUnimplemented, {"input 'x'", "not a tensor"});

  TestModel untyped = ReluModel();
  untyped.graph().mutable_input(0)->clear_type();
  ExpectError(untyped.Import(), kUnimplemented, {"input 'x'"});

  TestModel float8;
  float8.Input("x", {"2"}, onnx::TensorProto::FLOAT8E5M2).Node("Relu", {"x"}, {"y"}).Output("y");
  ExpectError(float8.Import(), kUnimplemented, {"input 'x'", "FLOAT8E5M2"});

  TestModel negative;
  negative.Input("x", {"-1"}).Node("Relu", {"x"}, {"y"}).Output("y");
  ExpectError(negative.Import(), kInvalid, {"input 'x'", "negative extent -1"});

  TestModel huge;
  huge.Input("x", {"9223372036854775807"}).Node("Relu", {"x"}, {"y"}).Output("y");
  ExpectError(huge.Import(), kInvalid, {"input 'x'", "extent 9223372036854775807"});

  TestModel deep;
  deep.Input("x", std::vector<std::string>(9, "1")).Node("Relu", {"x"}, {"y"}).Output("y");
  ExpectError(deep.Import(), kUnimplemented, {"input 'x'", "9 dimensions"});

  TestModel twice = ReluModel();
  twice.Input("x", {"3"});
  ExpectError(twice.Import(), kInvalid, {"input 'x'", "twice"});
}

TEST(ImportOnnx, RefusesExtentsThatGrowOutOfRange) {
  TestModel model;
  model.Input("x", {"1099511627776"}).Node("Concat", {"x", "x"}, {"y"}, {IntAttr("axis", 0)});
  model.Output("y");
  ExpectError(model.Import(), kInvalid, {"node 'y' (Concat)", "extent of 2199023255552"});
}

TEST(ImportOnnx, MakesConstantsOfInputsWithInitializers) {
  TestModel model;
  model.Input("x", {"2"}).Input("w", {"2"}).Initializer(FloatTensor("w", {2}, {10, 20}));
  model.Node("Add", {"x", "w"}, {"y"}).Output("y");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  EXPECT_THAT(imported->graph.inputs, SizeIs(1));
  const auto outputs = RunModel(imported, {Tensor<float>({2}, {1, 2})});
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(11, 22));
}

TEST(ImportOnnx, RefusesNamesThatAreMadeTwice) {
  TestModel weights = ReluModel();
  weights.Initializer(FloatTensor("w", {1}, {1})).Initializer(FloatTensor("w", {1}, {2}));
  ExpectError(weights.Import(), kInvalid, {"initializer 'w'", "twice"});

  TestModel nodes = ReluModel();
  nodes.Node("Neg", {"x"}, {"y"});
  ExpectError(nodes.Import(), kInvalid, {"node 'y' (Neg)", "exists already"});

  TestModel input = ReluModel();
  input.Node("Neg", {"y"}, {"x"});
  ExpectError(input.Import(), kInvalid, {"makes 'x'", "exists already"});
}

TEST(ImportOnnx, SortsNodes) {
  TestModel model;
  model.Input("x", {"1"}).Node("Relu", {"b"}, {"y"}).Node("Neg", {"a"}, {"b"});
  model.Node("Abs", {"x"}, {"a"}).Output("y");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  std::vector<std::string> ops;
  for (const Node& node : imported->graph.nodes) ops.push_back(node.op);
  EXPECT_THAT(ops, ElementsAre("Abs", "Neg", "Relu"));
}

TEST(ImportOnnx, RefusesCyclesAndMissingValues) {
  TestModel cycle;
  cycle.Input("x", {"1"}).Node("Add", {"x", "b"}, {"a"}).Node("Neg", {"a"}, {"b"}).Output("b");
  ExpectError(cycle.Import(), kInvalid, {"node 'a' (Add)", "cycle"});

  TestModel self;
  self.Node("Neg", {"a"}, {"a"}).Output("a");
  ExpectError(self.Import(), kInvalid, {"cycle"});

  TestModel missing = ReluModel();
  missing.Node("Neg", {"z"}, {"b"});
  ExpectError(missing.Import(), kInvalid, {"node 'b' (Neg)", "reads 'z'"});

  TestModel no_output = ReluModel();
  no_output.Output("z");
  ExpectError(no_output.Import(), kInvalid, {"output 'z'", "never made"});

  TestModel nothing;
  nothing.Input("x", {"1"});
  ExpectError(nothing.Import(), kInvalid, {"no output"});
}

TEST(ImportOnnx, KeepsNamesAndOrderOfOutputs) {
  TestModel model;
  model.Input("x", {"1"}).Initializer(FloatTensor("c", {1}, {7}));
  model.Node("Neg", {"x"}, {"minus"}).Node("Abs", {"x"}, {"plus"});
  model.Output("plus").Output("c").Output("minus");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const Graph& graph = imported->graph;
  std::vector<std::string> names;
  for (ValueId id : graph.outputs) names.push_back(ValueName(graph, id));
  EXPECT_THAT(names, ElementsAre("plus", "c", "minus"));
  EXPECT_EQ(graph.constant(graph.outputs[1]), nullptr) << "an output must be made by a node";
  const auto outputs = RunModel(imported, {Tensor<float>({1}, {-3})});
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(3));
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(7));
  EXPECT_THAT(Values<float>(outputs[2]), ElementsAre(3));
}

// Names that the importer makes up must not stand in the way of an output's own.
TEST(ImportOnnx, GivesOutputsTheirNamesBeforeAnybodyElse) {
  TestModel model;
  model.Input("x", {"2", "2", "2"}).Node("Softmax", {"x"}, {"s"}, {IntAttr("axis", 1)});
  model.Node("Neg", {"s"}, {"s/Shape"}).Output("s/Shape");
  model.proto.mutable_opset_import(0)->set_version(11);
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  EXPECT_EQ(ValueName(imported->graph, imported->graph.outputs[0]), "s/Shape");
}

TEST(ImportOnnx, RefusesOutputsWithoutANameOfTheirOwn) {
  TestModel echo = ReluModel();
  echo.Output("x");
  ExpectError(echo.Import(), kUnimplemented, {"output 'x'", "Identity"});
  TestModel twice = ReluModel();
  twice.Output("y");
  ExpectError(twice.Import(), kInvalid, {"output 'y'", "twice"});
}

TEST(ImportOnnx, ChecksDeclaredOutputs) {
  const auto with_output = [](const std::vector<std::string>& dims, int32_t type) {
    TestModel model;
    model.Input("x", {"N", "3"}).Node("Relu", {"x"}, {"y"}).Output("y", dims, type);
    return model.Import();
  };
  EXPECT_TRUE(with_output({"batch", "3"}, onnx::TensorProto::FLOAT).ok());
  EXPECT_TRUE(with_output({"1", ""}, onnx::TensorProto::FLOAT).ok());
  ExpectError(with_output({"N", "3"}, onnx::TensorProto::DOUBLE), kInvalid,
              {"output 'y'", "DOUBLE", "f32"});
  ExpectError(with_output({"N", "4"}, onnx::TensorProto::FLOAT), kInvalid, {"output 'y'", "[N,3]"});
  ExpectError(with_output({"N"}, onnx::TensorProto::FLOAT), kInvalid, {"output 'y'"});
}

TEST(ImportOnnx, LeavesOutAbsentInputsAndOutputs) {
  TestModel model;
  model.Input("x", {"3"}).Initializer(FloatTensor("max", {}, {1}));
  model.Node("Clip", {"x", "", "max"}, {"y"});
  model.Node("Clip", {"x", "", ""}, {"z", ""}).Node("Relu", {"x"}, {""}).Output("y").Output("z");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const Graph& graph = imported->graph;
  ASSERT_THAT(graph.nodes, SizeIs(2)) << "a node without outputs has no effect";
  EXPECT_THAT(graph.nodes[0].inputs, ElementsAre(graph.inputs[0], kNoValue, testing::Ge(0)));
  EXPECT_THAT(graph.nodes[1].inputs, ElementsAre(graph.inputs[0]));
  EXPECT_THAT(graph.nodes[1].outputs, SizeIs(1));
}

TEST(ImportOnnx, TellsWhereAModelComesFrom) {
  TestModel model = ReluModel();
  model.proto.set_producer_name("pytorch");
  model.proto.set_producer_version("2.4");
  model.proto.set_model_version(3);
  auto* property = model.proto.add_metadata_props();
  property->set_key("trained");
  property->set_value("2026-11");
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  const std::map<std::string, std::string> expected = {
      {"producer_name", "pytorch"},   {"producer_version", "2.4"},
      {"model_version", "3"},         {"ir_version", "8"},
      {"opset.ai.onnx", "17"},        {"opset.ai.onnx.ml", "3"},
      {"property.trained", "2026-11"}};
  EXPECT_EQ(imported->metadata, expected);
}

TEST(ImportOnnx, RefusesOperatorSetsItDoesNotKnow) {
  const auto with_opset = [](int64_t version) {
    TestModel model = ReluModel();
    model.proto.mutable_opset_import(0)->set_version(version);
    return model.Import();
  };
  EXPECT_TRUE(with_opset(7).ok());
  EXPECT_TRUE(with_opset(23).ok());
  for (int64_t version : {int64_t{-1}, int64_t{6}, int64_t{24}, int64_t{99}}) {
    ExpectError(with_opset(version), kUnimplemented,
                {"operator set " + std::to_string(version), "7 to 23", "export with opset 17"});
  }
  TestModel ml(17, 6);
  ml.Input("x", {"1"}).Node("Relu", {"x"}, {"y"}).Output("y");
  ExpectError(ml.Import(), kUnimplemented, {"ai.onnx.ml operator set 6", "1 to 5"});

  TestModel none = ReluModel();
  none.proto.clear_opset_import();
  ExpectError(none.Import(), kInvalid, {"opset_import is empty"});

  TestModel only_ml = ReluModel();
  only_ml.proto.mutable_opset_import()->DeleteSubrange(0, 1);
  ExpectError(only_ml.Import(), kInvalid, {"node 'y' (Relu)", "does not import", "ai.onnx"});
}

// skl2onnx lists ai.onnx twice.
TEST(ImportOnnx, TakesAnOperatorSetTwiceIfTheVersionsAgree) {
  TestModel same = ReluModel();
  same.Opset("ai.onnx", 17);
  EXPECT_TRUE(same.Import().ok());
  TestModel other = ReluModel();
  other.Opset("ai.onnx", 13);
  ExpectError(other.Import(), kInvalid, {"version 17", "version 13"});
}

TEST(ImportOnnx, NamesOperatorsItDoesNotKnow) {
  const auto with_node = [](const std::string& op, const std::string& domain, int64_t opset) {
    TestModel model(opset);
    model.Input("x", {"1"}).Node(op, {"x"}, {"y"}, {}, domain).Output("y");
    model.Opset("com.microsoft", 1);
    return model.Import();
  };
  ExpectError(with_node("Frobnicate", "", 17), kUnimplemented,
              {"node 'y' (Frobnicate)", "no operator ai.onnx.Frobnicate"});
  // Operators of our own are not ONNX's.
  ExpectError(with_node("FusedGemm", "", 17), kUnimplemented, {"no operator ai.onnx.FusedGemm"});
  ExpectError(with_node("FusedGemm", "com.microsoft", 17), kUnimplemented,
              {"domain 'com.microsoft'"});
  ExpectError(with_node("Mish", "", 17), kInvalid, {"Mish", "operator set 18", "imports 17"});
  ExpectError(with_node("Det", "", 17), kUnimplemented, {"ai.onnx.Det is not supported"});
  ExpectError(with_node("SVMRegressor", "ai.onnx.ml", 17), kUnimplemented, {"vector machines"});
  ExpectError(with_node("RandomNormalLike", "", 17), kUnimplemented, {"model.eval()"});
}

TEST(ImportOnnx, RefusesAttributesItDoesNotKnow) {
  TestModel unknown = ReluModel();
  *unknown.graph().mutable_node(0)->add_attribute() = IntAttr("leaky", 1);
  ExpectError(unknown.Import(), kUnimplemented, {"node 'y' (Relu)", "'leaky'"});

  TestModel wrong_type;
  wrong_type.Input("x", {"1"}).Node("Softmax", {"x"}, {"y"}, {StringAttr("axis", "last")});
  wrong_type.Output("y");
  ExpectError(wrong_type.Import(), kInvalid, {"node 'y' (Softmax)", "'axis'", "wrong type"});

  TestModel twice;
  twice.Input("x", {"1"});
  twice.Node("Softmax", {"x"}, {"y"}, {IntAttr("axis", 0), IntAttr("axis", 0)}).Output("y");
  ExpectError(twice.Import(), kInvalid, {"node 'y' (Softmax)", "'axis' twice"});

  TestModel sparse = ReluModel();
  auto* attribute = sparse.graph().mutable_node(0)->add_attribute();
  attribute->set_name("sparse_value");
  attribute->set_type(onnx::AttributeProto::SPARSE_TENSOR);
  ExpectError(sparse.Import(), kUnimplemented, {"sparse"});
}

TEST(ImportOnnx, TellsAttributesOfTheFirstIrVersionByTheirFields) {
  TestModel model;
  auto axis = IntAttr("axis", 0);
  axis.clear_type();
  model.Input("x", {"2", "1"}).Node("Softmax", {"x"}, {"y"}, {axis}).Output("y");
  const auto imported = model.Import();
  const auto outputs = RunModel(imported, {Tensor<float>({2, 1}, {5, 5})});
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(0.5f, 0.5f));
}

TEST(ImportOnnx, RefusesSparseInitializers) {
  TestModel model = ReluModel();
  model.graph().add_sparse_initializer()->mutable_values()->set_name("s");
  ExpectError(model.Import(), kUnimplemented, {"sparse initializer 's'"});
}

TEST(ImportOnnx, RefusesWhatIsNoModel) {
  const auto import = [](const std::string& bytes) {
    return ImportOnnxBytes(std::as_bytes(std::span(bytes)), {}, "test.onnx");
  };
  ExpectError(import(""), kInvalid, {"not an ONNX model"});
  ExpectError(import("this is text"), kInvalid, {"not an ONNX model"});
  TestModel no_version = ReluModel();
  no_version.proto.clear_ir_version();
  ExpectError(no_version.Import(), kInvalid, {"not an ONNX model"});
  TestModel no_graph = ReluModel();
  no_graph.proto.clear_graph();
  ExpectError(no_graph.Import(), kInvalid, {"not an ONNX model"});
  TestModel future = ReluModel();
  future.proto.set_ir_version(99);
  ExpectError(future.Import(), kUnimplemented, {"IR version 99"});
}

TEST(ImportOnnx, SurvivesEveryTruncationOfAModel) {
  TestModel model;
  model.Input("x", {"N", "2"}).Initializer(FloatTensor("w", {2, 2}, {1, 2, 3, 4}));
  model.Node("MatMul", {"x", "w"}, {"h"}).Node("Softmax", {"h"}, {"y"}, {IntAttr("axis", 1)});
  model.Output("y", {"N", "2"});
  const std::string whole = model.proto.SerializeAsString();
  ASSERT_TRUE(model.Import().ok());
  size_t refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);
    refused += ImportOnnxBytes(std::as_bytes(std::span(part)), {}, "test.onnx").ok() ? 0 : 1;
  }
  EXPECT_GT(refused, whole.size() / 2);
}

// Written from the inside out and backwards, since protobuf itself would not make it.
TEST(ImportOnnx, RefusesTenThousandNestedBranches) {
  std::string reversed;
  const auto wrap = [&](char field) {
    const size_t start = reversed.size();
    size_t size = start;
    for (; size > 0x7f; size >>= 7) reversed.push_back(static_cast<char>((size & 0x7f) | 0x80));
    reversed.push_back(static_cast<char>(size));
    std::reverse(reversed.begin() + static_cast<std::ptrdiff_t>(start), reversed.end());
    reversed.push_back(static_cast<char>((field << 3) | 2));
  };
  for (int depth = 0; depth < 10000; ++depth) {
    wrap(6);  // AttributeProto.g
    wrap(5);  // NodeProto.attribute
    wrap(1);  // GraphProto.node
  }
  wrap(7);  // ModelProto.graph
  const std::string bytes(reversed.rbegin(), reversed.rend());
  ExpectError(ImportOnnxBytes(std::as_bytes(std::span(bytes)), {}, "test.onnx"), kInvalid,
              {"nested too deeply"});
}

}  // namespace
}  // namespace verdict
