#include "serve/models/warm_up.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <utility>
#include <vector>

#include "compile/compile.h"

namespace verdict {
namespace {

using std::chrono::steady_clock;

long PageFaults() {
  rusage usage{};
  EXPECT_EQ(::getrusage(RUSAGE_THREAD, &usage), 0);
  return usage.ru_minflt;
}

/// y = relu(x) + relu(-x) over f32 [N, 1024], N up to 2048: some 20 MB of working memory.
std::shared_ptr<const Engine> LargeEngine() {
  Graph graph;
  const Dim rows = graph.Symbol("N");
  const ValueId x = graph.AddInput("x", DataType::kFloat32, {rows, 1024});
  const ValueId up = graph.AddValue("up", DataType::kFloat32, {rows, 1024});
  const ValueId minus = graph.AddValue("minus", DataType::kFloat32, {rows, 1024});
  const ValueId down = graph.AddValue("down", DataType::kFloat32, {rows, 1024});
  const ValueId y = graph.AddValue("y", DataType::kFloat32, {rows, 1024});
  graph.nodes.push_back({"a", "Relu", {x}, {up}, {}});
  graph.nodes.push_back({"b", "Neg", {x}, {minus}, {}});
  graph.nodes.push_back({"c", "Relu", {minus}, {down}, {}});
  graph.nodes.push_back({"d", "Add", {up, down}, {y}, {}});
  graph.outputs = {y};
  CompileOptions options;
  options.min_shapes = {{"x", {1, 1024}}};
  options.opt_shapes = {{"x", {8, 1024}}};
  options.max_shapes = {{"x", {2048, 1024}}};
  auto compiled = Compile(std::move(graph), options);
  VERDICT_CHECK(compiled.ok());
  return Engine::FromContents(std::move(compiled->contents)).value();
}

/// The faults of a first request of the largest shape, after a warm-up that ended by `deadline`.
long FaultsOfTheFirstRun(steady_clock::time_point deadline) {
  auto session = Session::Create(LargeEngine()).value();
  EXPECT_TRUE(WarmUp(*session, deadline).ok());
  std::vector<float> x(2048 * 1024, 1.0F);
  const TensorView inputs[] = {{DataType::kFloat32, {2048, 1024}, x.data()}};
  const long before = PageFaults();
  const auto outputs = session->Run(inputs);
  const long after = PageFaults();
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  EXPECT_EQ((*outputs)[0].as<const float>()[0], 1.0F);
  return after - before;
}

TEST(WarmUp, NoRequestIsTheFirstToTouchTheMemory) {
  const long cold = FaultsOfTheFirstRun(steady_clock::time_point::min());
  const long warm = FaultsOfTheFirstRun(steady_clock::time_point::max());
  if (cold < 8) GTEST_SKIP() << "this system counts no page faults";
  EXPECT_LT(warm, cold / 4) << "of " << cold << " without";
}

TEST(WarmUp, InputsThatDoNotSuitTheModelAreNoFailure) {
  // The rows of a table of four: index 99 is refused.
  Graph graph;
  const Dim rows = graph.Symbol("N");
  const ValueId x = graph.AddInput("x", DataType::kInt64, {rows});
  const std::vector<float> values = {1, 2, 3, 4};
  const ValueId table =
      graph.AddConstant("table", Constant::Of<float>({4}, std::span<const float>(values)));
  const ValueId y = graph.AddValue("y", DataType::kFloat32, {rows});
  graph.nodes.push_back({"look up", "Gather", {table, x}, {y}, {}});
  graph.outputs = {y};
  auto compiled = Compile(std::move(graph), {});
  ASSERT_TRUE(compiled.ok()) << compiled.status().ToString();
  const std::vector<int64_t> indices = {3, 99};
  GoldenVector golden;
  golden.inputs.push_back(Constant::Of<int64_t>({2}, std::span<const int64_t>(indices)));
  compiled->contents.golden = {golden};
  const auto engine = Engine::FromContents(std::move(compiled->contents)).value();
  auto session = Session::Create(engine).value();
  const TensorView inputs[] = {engine->contents().golden[0].inputs[0].view()};
  ASSERT_EQ(session->Run(inputs).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(WarmUp(*session, steady_clock::time_point::max()).ok());
}

}  // namespace
}  // namespace verdict
