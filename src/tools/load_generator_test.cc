#include "tools/load_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compile/compile.h"

namespace verdict {
namespace {

std::shared_ptr<const Engine> SoftmaxEngine() {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{n, 4});
  const ValueId y = graph.AddValue("y", DataType::kFloat32, Shape{n, 4});
  graph.nodes.push_back({"softmax", "Softmax", {x}, {y}, {}});
  graph.outputs = {y};
  return Engine::FromContents(Compile(std::move(graph), {}).value().contents).value();
}

TEST(LoadGenerator, RunsAtLeastTheIterations) {
  const Constant x = Constant::Of<float>({1, 4}, std::vector<float>{1, 2, 3, 4});
  const std::array inputs = {x.view()};
  const auto result = GenerateLoad(
      SoftmaxEngine(), inputs, {.warm_up_ms = 0, .duration_s = 0, .iterations = 25, .threads = 2});
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->runs.size(), 50U);
  EXPECT_GT(result->wall_s, 0);
  for (const RunTime& run : result->runs) EXPECT_LE(run.start_ms, run.end_ms);
}

TEST(LoadGenerator, RunsAtLeastTheDuration) {
  const Constant x = Constant::Of<float>({1, 4}, std::vector<float>{1, 2, 3, 4});
  const std::array inputs = {x.view()};
  const auto result =
      GenerateLoad(SoftmaxEngine(), inputs,
                   {.warm_up_ms = 5, .duration_s = 0.02, .iterations = 1, .threads = 1});
  ASSERT_TRUE(result.ok());
  EXPECT_GE(result->runs.back().end_ms, 20);
  EXPECT_GT(result->runs.size(), 1U);
}

TEST(LoadGenerator, ReportsWhyARunFailed) {
  const Constant x = Constant::Of<float>({1, 3}, std::vector<float>{1, 2, 3});
  const std::array inputs = {x.view()};
  const auto result = GenerateLoad(SoftmaxEngine(), inputs, {.threads = 2});
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(result.status().message(), testing::HasSubstr("'x'"));
}

}  // namespace
}  // namespace verdict
