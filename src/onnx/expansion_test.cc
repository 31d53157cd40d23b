#include "onnx/graph_builder.h"
#include "onnx/model_builder_test.h"

// Functions and branches, which are expanded in place.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;

onnx::FunctionProto Function(const std::string& name, const std::vector<std::string>& inputs,
                             const std::vector<std::string>& outputs,
                             const std::vector<onnx::NodeProto>& nodes, int64_t opset = 17) {
  onnx::FunctionProto function;
  function.set_domain("local");
  function.set_name(name);
  for (const auto& input : inputs) function.add_input(input);
  for (const auto& output : outputs) function.add_output(output);
  for (const auto& node : nodes) *function.add_node() = node;
  auto* import = function.add_opset_import();
  import->set_version(opset);
  function.add_opset_import()->set_domain("local");
  return function;
}

onnx::NodeProto Call(const std::string& name, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs,
                     const std::vector<onnx::AttributeProto>& attributes = {}) {
  return MakeNodeProto(name, inputs, outputs, attributes, "local");
}

/// y = F(x), for x of one element.
TestModel CallModel(const onnx::FunctionProto& function,
                    const std::vector<onnx::AttributeProto>& attributes = {}) {
  TestModel model;
  model.Opset("local", 1);
  model.Input("x", {"1"});
  *model.graph().add_node() = Call(function.name(), {"x"}, {"y"}, attributes);
  model.Output("y");
  *model.proto.add_functions() = function;
  return model;
}

std::vector<float> RunOnOne(const TestModel& model, float x) {
  const auto outputs = RunModel(model.Import(), {Tensor<float>({1}, {x})});
  return outputs.empty() ? std::vector<float>{} : Values<float>(outputs[0]);
}

onnx::AttributeProto Reference(const std::string& name, const std::string& to,
                               onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(type);
  attribute.set_ref_attr_name(to);
  return attribute;
}

TEST(Functions, AreExpandedWhereTheyAreCalled) {
  // The body's names are its own: its x is the caller's x, its y is not the caller's y.
  TestModel model = CallModel(
      Function("F", {"a"}, {"x"},
               {MakeNodeProto("Neg", {"a"}, {"y"}), MakeNodeProto("Add", {"y", "y"}, {"x"})}));
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(-6));
  *model.graph().add_node() = Call("F", {"y"}, {"z"});
  model.graph().mutable_output(0)->set_name("z");
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(12));
  EXPECT_EQ(model.Import()->graph.value(model.Import()->graph.outputs[0]).name, "z");
}

TEST(Functions, PassAttributesOn) {
  auto inner =
      Function("Inner", {"a"}, {"b"},
               {MakeNodeProto("LeakyRelu", {"a"}, {"b"},
                              {Reference("alpha", "slope", onnx::AttributeProto::FLOAT)})});
  *inner.add_attribute_proto() = FloatAttr("slope", 0.25f);
  auto outer = Function("Outer", {"a"}, {"b"},
                        {Call("Inner", {"a"}, {"b"},
                              {Reference("slope", "steepness", onnx::AttributeProto::FLOAT)})});
  outer.add_attribute("steepness");
  TestModel given = CallModel(outer, {FloatAttr("steepness", 0.5f)});
  *given.proto.add_functions() = inner;
  EXPECT_THAT(RunOnOne(given, -8), ElementsAre(-4));
  TestModel left_out = CallModel(outer);
  *left_out.proto.add_functions() = inner;
  EXPECT_THAT(RunOnOne(left_out, -8), ElementsAre(-2)) << "the function's own default";
}

TEST(Functions, TakeArgumentsThatAreLeftOut) {
  TestModel model = CallModel(Function("F", {"a", "min", "max"}, {"b"},
                                       {MakeNodeProto("Clip", {"a", "min", "max"}, {"b"})}));
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(3));
}

TEST(Functions, UseTheirOwnOperatorSet) {
  // Before operator set 13, the axes of Unsqueeze are an attribute.
  TestModel model = CallModel(Function(
      "F", {"a"}, {"b"}, {MakeNodeProto("Unsqueeze", {"a"}, {"b"}, {IntsAttr("axes", {0})})},
      /*opset=*/11));
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(3));
  TestModel future =
      CallModel(Function("F", {"a"}, {"b"}, {MakeNodeProto("Neg", {"a"}, {"b"})}, /*opset=*/99));
  ExpectError(future.Import(), kUnimplemented, {"function 'F'", "operator set 99"});
}

TEST(Functions, MayReturnWhatTheyTake) {
  TestModel model = CallModel(Function("F", {"a"}, {"a"}, {}));
  const auto imported = model.Import();
  ASSERT_TRUE(imported.ok()) << imported.status().ToString();
  EXPECT_EQ(imported->graph.value(imported->graph.outputs[0]).name, "y");
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(3));
}

TEST(Functions, NameNodesAfterTheCall) {
  TestModel model = CallModel(Function("F", {"a"}, {"b"}, {MakeNodeProto("Det", {"a"}, {"b"})}));
  model.graph().mutable_node(0)->set_name("block1");
  ExpectError(model.Import(), kUnimplemented, {"(Det)"});
  TestModel fine = CallModel(Function("F", {"a"}, {"b"}, {MakeNodeProto("Neg", {"a"}, {"b"})}));
  fine.graph().mutable_node(0)->set_name("block1");
  EXPECT_EQ(fine.Import()->graph.nodes[0].name, "block1/b");
}

TEST(Functions, RefuseMalformedCalls) {
  TestModel inputs = CallModel(Function("F", {}, {"b"}, {}));
  ExpectError(inputs.Import(), kInvalid, {"node 'y' (F)", "takes 0 inputs, not 1"});
  TestModel outputs = CallModel(Function("F", {"a"}, {}, {}));
  ExpectError(outputs.Import(), kInvalid, {"node 'y' (F)", "1 outputs"});
  TestModel missing = CallModel(Function("F", {"a"}, {"b"}, {}));
  ExpectError(missing.Import(), kInvalid, {"'b' is never made"});
  // A function does not see the caller's values.
  TestModel capture =
      CallModel(Function("F", {"a"}, {"b"}, {MakeNodeProto("Add", {"a", "x"}, {"b"})}));
  ExpectError(capture.Import(), kInvalid, {"reads 'x'"});
  TestModel twice = CallModel(Function("F", {"a"}, {"a"}, {}));
  *twice.proto.add_functions() = Function("F", {"a"}, {"a"}, {});
  ExpectError(twice.Import(), kInvalid, {"function 'F'", "twice"});
}

TEST(Functions, EndIfTheyCallThemselves) {
  TestModel model = CallModel(Function("F", {"a"}, {"b"}, {Call("F", {"a"}, {"b"})}));
  ExpectError(model.Import(), StatusCode::kResourceExhausted, {"(F)", "circle"});
}

// Each calls the next twice: 2^60 nodes, were they all made.
TEST(Functions, EndBeforeTheyFillTheMemory) {
  TestModel model;
  model.Opset("local", 1);
  model.Input("x", {"1"});
  *model.graph().add_node() = Call("F0", {"x"}, {"y"});
  model.Output("y");
  for (int i = 0; i < 60; ++i) {
    const std::string next = "F" + std::to_string(i + 1);
    *model.proto.add_functions() = Function("F" + std::to_string(i), {"a"}, {"b"},
                                            {Call(next, {"a"}, {"m"}), Call(next, {"m"}, {"b"})});
  }
  // A constant this large makes the limit come after few calls.
  *model.proto.add_functions() =
      Function("F60", {"a"}, {"b"},
               {MakeNodeProto("Constant", {}, {"c"},
                              {FloatsAttr("value_floats", std::vector<float>(1 << 20))}),
                MakeNodeProto("Neg", {"a"}, {"b"})});
  ExpectError(model.Import(), StatusCode::kResourceExhausted, {"64 MiB"});
}

onnx::GraphProto Branch(const std::vector<onnx::NodeProto>& nodes, const std::string& output) {
  onnx::GraphProto graph;
  graph.set_name("branch");
  for (const auto& node : nodes) *graph.add_node() = node;
  graph.add_output()->set_name(output);
  return graph;
}

/// y = x + 100 or -x.
TestModel IfModel(const std::string& condition) {
  auto then_branch = Branch({MakeNodeProto("Add", {"x", "hundred"}, {"t"})}, "t");
  *then_branch.add_initializer() = FloatTensor("hundred", {1}, {100});
  const auto else_branch = Branch({MakeNodeProto("Neg", {"x"}, {"e"})}, "e");
  TestModel model;
  model.Input("x", {"1"});
  model.Node("If", {condition}, {"y"},
             {GraphAttr("then_branch", then_branch), GraphAttr("else_branch", else_branch)});
  model.Output("y");
  return model;
}

TEST(Branches, FollowAConstantCondition) {
  TestModel model = IfModel("c");
  model.Initializer(BoolTensor("c", true));
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(103));
  *model.graph().mutable_initializer(0) = BoolTensor("c", false);
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(-3));
  EXPECT_EQ(model.Import()->graph.value(model.Import()->graph.outputs[0]).name, "y");
}

TEST(Branches, FollowAConditionThatShapesTell) {
  TestModel model = IfModel("c");
  model.Initializer(IntTensor("one", {1}, {1}));
  model.Node("Shape", {"x"}, {"shape"}).Node("Equal", {"shape", "one"}, {"c"});
  EXPECT_THAT(RunOnOne(model, 3), ElementsAre(103));
}

// The order of nodes must take what a branch reads into account.
TEST(Branches, WaitForWhatTheyRead) {
  TestModel model;
  model.Input("x", {"1"}).Initializer(BoolTensor("c", true));
  const auto branch = Branch({MakeNodeProto("Neg", {"late"}, {"t"})}, "t");
  model.Node("If", {"c"}, {"y"},
             {GraphAttr("then_branch", branch), GraphAttr("else_branch", branch)});
  model.Node("Abs", {"x"}, {"late"}).Output("y");
  EXPECT_THAT(RunOnOne(model, -3), ElementsAre(-3));
}

TEST(Branches, MayReturnWhatIsOutside) {
  TestModel model;
  model.Input("x", {"1"}).Initializer(BoolTensor("c", true)).Node("Neg", {"x"}, {"n"});
  const auto branch = Branch({}, "n");
  model.Node("If", {"c"}, {"y"},
             {GraphAttr("then_branch", branch), GraphAttr("else_branch", branch)});
  model.Output("n").Output("y");
  const auto outputs = RunModel(model.Import(), {Tensor<float>({1}, {3})});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(-3));
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(-3));
}

TEST(Branches, AreRefusedWhereDataDecide) {
  TestModel data = IfModel("c");
  data.Node("Less", {"x", "x"}, {"c"});
  ExpectError(data.Import(), kUnimplemented, {"node 'y' (If)", "depend on the input"});
  TestModel number = IfModel("c");
  number.Initializer(FloatTensor("c", {}, {1}));
  ExpectError(number.Import(), kUnimplemented, {"node 'y' (If)"});
  TestModel missing = IfModel("c");
  missing.Initializer(BoolTensor("c", true));
  missing.graph().mutable_node(0)->mutable_attribute()->DeleteSubrange(0, 1);
  ExpectError(missing.Import(), kInvalid, {"node 'y' (If)", "'then_branch'"});
  TestModel absent = IfModel("");
  ExpectError(absent.Import(), kInvalid, {"node 'y' (If)", "condition"});
}

TEST(Branches, AreRefusedInLoops) {
  TestModel model;
  model.Input("x", {"1"}).Initializer(IntTensor("n", {}, {3})).Initializer(BoolTensor("c", true));
  model.Node("Loop", {"n", "c", "x"}, {"y"}, {GraphAttr("body", Branch({}, "x"))}).Output("y");
  ExpectError(model.Import(), kUnimplemented, {"node 'y' (Loop)", "unroll them"});
}

}  // namespace
}  // namespace verdict
