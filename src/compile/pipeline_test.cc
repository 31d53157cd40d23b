#include "compile/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "ir/text.h"
#include "ops/infer.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

Graph TwoOutputs() {
  Graph graph = ParseGraph(R"(graph "g" {
  input %x: f32[N,4]
  %a = Relu(%x)
  %b = Softmax(%x)
  output %a
  output %b
}
)")
                    .value();
  VERDICT_CHECK(InferShapes(graph).ok());
  return graph;
}

/// What the pipeline says to a pass that rewrites the graph like that.
Status RunAlone(Result<bool> (*run)(Graph&)) {
  const Pass pass{.name = "suspect", .summary = "", .run = run};
  const std::array passes = {&pass};
  Graph graph = TwoOutputs();
  return RunPasses(graph, {}, passes).status();
}

void ExpectRefused(const Status& status, const std::string& why) {
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("pass suspect broke the graph"));
  EXPECT_THAT(status.message(), HasSubstr(why));
}

/// Puts a node after the first output; the result takes its place and name.
void AppendToFirstOutput(Graph& graph, Node node) {
  const ValueId old = graph.outputs[0];
  const std::string name = graph.value(old).name;
  graph.RenameValue(old, "");
  const ValueId made = graph.AddValue(name, DataType::kUndefined, Shape{});
  node.inputs.insert(node.inputs.begin(), old);
  node.outputs = {made};
  graph.nodes.push_back(std::move(node));
  graph.outputs[0] = made;
}

TEST(Pipeline, AcceptsAPassThatKeepsTheOutputs) {
  EXPECT_TRUE(RunAlone([](Graph& graph) -> Result<bool> {
                AppendToFirstOutput(graph, {.op = "Tanh"});
                return true;
              }).ok());
}

TEST(Pipeline, RefusesAPassThatDropsAnOutput) {
  ExpectRefused(RunAlone([](Graph& graph) -> Result<bool> {
                  graph.outputs.pop_back();
                  return true;
                }),
                "1 outputs instead of 2");
}

TEST(Pipeline, RefusesAPassThatRenamesAnOutput) {
  ExpectRefused(RunAlone([](Graph& graph) -> Result<bool> {
                  graph.RenameValue(graph.outputs[1], "other");
                  return true;
                }),
                "output 1 is 'other' f32[?,4] instead of 'b' f32[?,4]");
}

TEST(Pipeline, RefusesAPassThatChangesAType) {
  ExpectRefused(RunAlone([](Graph& graph) -> Result<bool> {
                  AppendToFirstOutput(graph, {.op = "Cast", .attributes = {{"to", int64_t{11}}}});
                  return true;
                }),
                "output 0 is 'a' f64[?,4] instead of 'a' f32[?,4]");
}

TEST(Pipeline, RefusesAPassThatChangesARank) {
  ExpectRefused(RunAlone([](Graph& graph) -> Result<bool> {
                  const ValueId axes = graph.AddConstant(
                      "axes", Constant::Of<int64_t>(Shape{1}, std::array<int64_t, 1>{0}));
                  AppendToFirstOutput(graph, {.op = "Unsqueeze", .inputs = {axes}});
                  return true;
                }),
                "output 0 is 'a' f32[1,?,4] instead of 'a' f32[?,4]");
}

TEST(Pipeline, RefusesAPassThatChangesAnExtent) {
  ExpectRefused(RunAlone([](Graph& graph) -> Result<bool> {
                  AppendToFirstOutput(graph, {.op = "Concat",
                                              .inputs = {graph.inputs[0]},
                                              .attributes = {{"axis", int64_t{1}}}});
                  return true;
                }),
                "output 0 is 'a' f32[?,8] instead of 'a' f32[?,4]");
}

TEST(Pipeline, HasATextTestOfEveryPass) {
  const auto folder = std::filesystem::path(VERDICT_SOURCE_DIR) / "src/passes";
  for (const Pass* pass : Pipeline()) {
    std::ifstream file(folder / (std::string(pass->name) + ".irtest"));
    std::string line;
    EXPECT_TRUE(std::getline(file, line)) << pass->name;
  }
}

TEST(Pipeline, NamesThePassesWhereOneIsUnknown) {
  Graph graph = TwoOutputs();
  const std::vector<std::string> disabled = {"fold_everything"};
  const Status status = RunPasses(graph, disabled).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("fold_everything"));
  EXPECT_THAT(status.message(), HasSubstr("\n  remove_no_ops: "));
}

}  // namespace
}  // namespace verdict
