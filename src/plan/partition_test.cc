#include "plan/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "ops/verify.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Graph Parse(const std::string& text) {
  auto graph = ParseGraph("graph \"g\" {\n" + text + "\n}");
  VERDICT_CHECK(graph.ok());
  VERDICT_CHECK(InferShapes(*graph).ok());
  return *std::move(graph);
}

/// Supports all operators but these.
DeviceRule AllBut(std::vector<std::string> ops) {
  return [ops = std::move(ops)](const Node& node) {
    const bool is_one = std::ranges::find(ops, node.op) != ops.end();
    return is_one ? Unimplemented("there is no " + node.op) : OkStatus();
  };
}

/// "device 0,1 host 2"
std::string Text(std::span<const Part> parts) {
  std::string text;
  for (const Part& part : parts) {
    text += std::string(text.empty() ? "" : " ") + (part.on_device ? "device" : "host");
    for (const int32_t node : part.nodes) {
      text += (node == part.nodes.front() ? " " : ",") + std::to_string(node);
    }
  }
  return text;
}

std::vector<std::string> Names(const Graph& graph, std::span<const ValueId> ids) {
  std::vector<std::string> names;
  for (const ValueId id : ids) names.push_back(graph.value(id).name);
  return names;
}

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes) ops.push_back(node.op);
  return ops;
}

constexpr char kLayers[] = R"(
  input %x: f32[N,4]
  const %w: f32[4,4] = seed(1)
  const %v: f32[4,2] = seed(2)
  %a = MatMul(%x, %w)
  %b = Relu(%a)
  %c = Erf(%b)
  %d = MatMul(%c, %v)
  %e = Sigmoid(%d)
  output %e)";

TEST(PartitionGraph, LeavesAWholeGraphInOnePart) {
  EXPECT_EQ(Text(PartitionGraph(Parse(kLayers), AllBut({}))), "device 0,1,2,3,4");
}

TEST(PartitionGraph, SplitsAroundWhatStaysOnTheHostAndSaysWhy) {
  std::vector<std::string> lines;
  const auto log = [&](const std::string& line) { lines.push_back(line); };
  EXPECT_EQ(Text(PartitionGraph(Parse(kLayers), AllBut({"Erf"}), log)),
            "device 0,1 host 2 device 3,4");
  EXPECT_THAT(lines, ElementsAre(HasSubstr("(Erf) stays on the host: there is no Erf")));
}

TEST(PartitionGraph, LeavesLittleWorkOnTheHost) {
  // What is left for the device behind the last product is not worth a copy.
  EXPECT_EQ(Text(PartitionGraph(Parse(kLayers), AllBut({"Erf", "Sigmoid"}))),
            "device 0,1 host 2 device 3 host 4");
  const Graph light = Parse(R"(
    input %x: f32[N,4]
    %a = Relu(%x)
    %b = Exp(%a)
    output %b)");
  EXPECT_THAT(PartitionGraph(light, AllBut({})), IsEmpty());
  const Graph tail = Parse(R"(
    input %x: f32[N,4]
    const %w: f32[4,4] = seed(1)
    %a = MatMul(%x, %w)
    %b = Erf(%a)
    %c = Exp(%b)
    output %c)");
  EXPECT_EQ(Text(PartitionGraph(tail, AllBut({"Erf"}))), "device 0 host 1,2");
}

TEST(PartitionGraph, IsEmptyWhereTheDeviceTakesNothing) {
  EXPECT_THAT(PartitionGraph(Parse(kLayers), AllBut({"MatMul"})), IsEmpty());
}

TEST(PartitionGraph, RunsBranchesTogether) {
  // Both products are ready when the device's part begins.
  const Graph graph = Parse(R"(
    input %x: f32[N,4]
    const %w: f32[4,4] = seed(1)
    %a = MatMul(%x, %w)
    %b = Erf(%x)
    %c = MatMul(%x, %w)
    %d = MatMul(%b, %c)
    output %a
    output %d)");
  EXPECT_EQ(Text(PartitionGraph(graph, AllBut({"Erf"}))), "host 1 device 0,2,3");
}

constexpr char kShapes[] = R"(
  input %x: f32[N,T,4]
  const %w: f32[4,6] = seed(1)
  const %v: f32[6,2] = seed(2)
  const %zero: i64[1] = [0]
  const %rest: i64[1] = [-1]
  const %three: i64[1] = [3]
  %a = MatMul(%x, %w)
  %s = Shape(%x)
  %n = Gather(%s, %zero)
  %t = Concat(%n, %rest, %three) {axis=0}
  %b = Reshape(%a, %t)
  %c = Erf(%b)
  %d = Reshape(%c, %u)
  output %d)";

/// The second Reshape's target is made of the same batch.
Graph ShapesGraph() {
  std::string text = kShapes;
  text.insert(text.find("  %b ="),
              "  const %six: i64[1] = [6]\n"
              "  %u = Concat(%n, %rest, %six) {axis=0}\n");
  text.insert(text.find("  output"), "  %e = MatMul(%d, %v)\n");
  text.replace(text.find("output %d"), 9, "output %e");
  return Parse(text);
}

TEST(PartitionGraph, KeepsShapesWithWhatReadsThem) {
  const Graph graph = ShapesGraph();
  const auto parts = PartitionGraph(graph, AllBut({"Erf"}));
  EXPECT_EQ(Text(parts), "device 0,1,2,3,5 host 6 device 4,7,8");
  const auto graphs = ExtractParts(graph, parts);
  ASSERT_TRUE(graphs.ok()) << graphs.status().ToString();
  // The last part computes the shape of x again: no integers cross.
  EXPECT_THAT(Names(graph, (*graphs)[0].inputs), ElementsAre("x"));
  EXPECT_THAT(Names(graph, (*graphs)[0].outputs), ElementsAre("b"));
  EXPECT_THAT(Names(graph, (*graphs)[2].inputs), ElementsAre("x", "c"));
  EXPECT_THAT(Ops((*graphs)[2].graph),
              ElementsAre("Shape", "Gather", "Concat", "Reshape", "MatMul"));
}

TEST(PartitionGraph, LeavesReadersOfUnsupportedShapesOnTheHost) {
  std::vector<std::string> lines;
  const auto log = [&](const std::string& line) { lines.push_back(line); };
  const auto parts = PartitionGraph(ShapesGraph(), AllBut({"Gather"}), log);
  EXPECT_EQ(Text(parts), "device 0 host 1,2,3,4,5,6,7 device 8");
  EXPECT_THAT(lines, testing::Contains(HasSubstr("it reads a shape that is computed there")));
}

TEST(PartitionGraph, LeavesShapesThatAreInputsOnTheHost) {
  const Graph graph = Parse(R"(
    input %x: f32[N,4]
    input %target: i64[2]
    const %w: f32[4,4] = seed(1)
    %a = MatMul(%x, %w)
    %b = Reshape(%a, %target)
    output %b)");
  EXPECT_EQ(Text(PartitionGraph(graph, AllBut({}))), "device 0 host 1");
}

TEST(PartitionGraph, LeavesShapesThatAreOutputsOnTheHost) {
  const Graph graph = Parse(R"(
    input %x: f32[N,4]
    const %w: f32[4,4] = seed(1)
    %a = MatMul(%x, %w)
    %s = Shape(%a)
    output %a
    output %s)");
  const auto parts = PartitionGraph(graph, AllBut({}));
  EXPECT_EQ(Text(parts), "device 0 host 1");
  const auto graphs = ExtractParts(graph, parts);
  ASSERT_TRUE(graphs.ok()) << graphs.status().ToString();
  EXPECT_THAT(Names(graph, (*graphs)[1].outputs), ElementsAre("s"));
}

/// Runs the parts one after another with the reference kernels.
std::vector<Constant> RunParts(const Graph& graph, std::span<const Part> parts,
                               std::span<const Constant> inputs) {
  std::vector<Constant> values(static_cast<size_t>(graph.num_values()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  }
  const auto graphs = ExtractParts(graph, parts).value();
  for (const PartGraph& part : graphs) {
    EXPECT_TRUE(VerifyGraph(part.graph).ok()) << VerifyGraph(part.graph).ToString();
    std::vector<TensorView> views;
    for (const ValueId id : part.inputs) views.push_back(values[static_cast<size_t>(id)].view());
    const auto outputs = Evaluate(part.graph, views);
    EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
    for (size_t i = 0; i < part.outputs.size(); ++i) {
      values[static_cast<size_t>(part.outputs[i])] = (*outputs)[i];
    }
  }
  std::vector<Constant> outputs;
  for (const ValueId id : graph.outputs) outputs.push_back(values[static_cast<size_t>(id)]);
  return outputs;
}

TEST(ExtractParts, ComputesTheSameInParts) {
  const Graph graph = ShapesGraph();
  const auto parts = PartitionGraph(graph, AllBut({"Erf"}));
  std::vector<float> numbers(2 * 3 * 4);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) / 10 - 1;
  const std::vector<Constant> inputs = {Constant::Of<float>({2, 3, 4}, numbers)};
  const auto whole = Evaluate(graph, std::vector{inputs[0].view()}).value();
  const auto in_parts = RunParts(graph, parts, inputs);
  ASSERT_EQ(whole[0].shape, in_parts[0].shape);
  EXPECT_TRUE(
      std::ranges::equal(whole[0].view().as<const float>(), in_parts[0].view().as<const float>()));
}

TEST(ExtractParts, CrossesIntegersAndBoolsAndSharesConstants) {
  const Graph graph = Parse(R"(
    input %x: f32[N,4]
    const %w: f32[4,4] = seed(1)
    %a = MatMul(%x, %w)
    %i = ArgMax(%a) {axis=1, keepdims=0}
    %p = Greater(%a, %x)
    %n = Not(%p)
    %b = MatMul(%x, %w)
    %c = Where(%n, %b, %a)
    output %i
    output %c)");
  const std::vector<Part> parts = {{true, {0, 1, 2}}, {false, {3}}, {true, {4, 5}}};
  const auto graphs = ExtractParts(graph, parts);
  ASSERT_TRUE(graphs.ok()) << graphs.status().ToString();
  EXPECT_THAT(Names(graph, (*graphs)[0].outputs), ElementsAre("a", "i", "p"));
  EXPECT_THAT(Names(graph, (*graphs)[1].inputs), ElementsAre("p"));
  const Graph& first = (*graphs)[0].graph;
  const Graph& last = (*graphs)[2].graph;
  EXPECT_EQ(first.constant(first.FindValue("w"))->data, last.constant(last.FindValue("w"))->data);
  EXPECT_EQ(first.value(first.outputs[1]).dtype, DataType::kInt64);
  EXPECT_EQ(first.value(first.outputs[2]).dtype, DataType::kBool);
  EXPECT_EQ(last.ShapeText(last.value(last.inputs[0]).shape), "[N,4]");
}

TEST(ExtractParts, RefusesNonsense) {
  const Graph graph = Parse(kLayers);
  const std::pair<std::vector<Part>, const char*> cases[] = {
      {{}, "node 0 is not listed"},
      {{{true, {0, 1, 2, 3}}}, "node 4 is not listed"},
      {{{true, {0, 1, 2, 3, 4, 5}}}, "part 0 lists node 5 after 4, of 5"},
      {{{true, {-1, 0, 1, 2, 3, 4}}}, "part 0 lists node -1"},
      {{{true, {0, 1, 1, 2, 3, 4}}}, "part 0 lists node 1 after 1"},
      {{{true, {1, 0, 2, 3, 4}}}, "part 0 lists node 0 after 1"},
      {{{true, {0, 1, 2}}, {false, {2, 3, 4}}}, "node 2 is listed twice"},
      {{{true, {}}, {false, {0, 1, 2, 3, 4}}}, "part 0 is empty"},
      {{{true, {3, 4}}, {false, {0, 1, 2}}}, "is in part 0 and reads what part 1 makes"}};
  for (const auto& [parts, message] : cases) {
    const Status status = ExtractParts(graph, parts).status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << message;
    EXPECT_THAT(status.message(), HasSubstr(message));
    EXPECT_FALSE(CheckParts(graph, parts).ok()) << message;
  }
  const std::vector<Part> idle = {{true, {0, 4, 5, 6, 7, 8}}, {false, {1, 2, 3}}};
  EXPECT_EQ(ExtractParts(ShapesGraph(), idle).status().code(), StatusCode::kDataLoss);
}

TEST(PartProfiles, AreTheShapesAtTheProfilesOfTheGraph) {
  const Graph graph = ShapesGraph();
  const auto parts = PartitionGraph(graph, AllBut({"Erf"}));
  const auto graphs = ExtractParts(graph, parts).value();
  const NamedShapes min = {{"x", {1, 3, 4}}}, opt = {{"x", {4, 6, 4}}}, max = {{"x", {8, 9, 4}}};
  const std::vector<Profile> profiles = {MakeProfile(graph, min, opt, max).value()};
  const auto part_profiles = PartProfiles(graph, graphs[2], profiles);
  ASSERT_TRUE(part_profiles.ok()) << part_profiles.status().ToString();
  ASSERT_EQ(part_profiles->size(), 1u);
  const InputRange& c = (*part_profiles)[0].inputs[1];
  EXPECT_EQ(c.name, "c");
  EXPECT_EQ(c.min, (Shape{1, 6, 3}));
  EXPECT_EQ(c.opt, (Shape{4, 12, 3}));
  EXPECT_EQ(c.max, (Shape{8, 18, 3}));
}

}  // namespace
}  // namespace verdict
