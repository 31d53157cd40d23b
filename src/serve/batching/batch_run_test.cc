#include "serve/batching/batch_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string_view>
#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<BatchRun> RunOf(const std::shared_ptr<const Engine>& engine,
                                std::span<const StateSlot> states = {}) {
  return BatchRun::Create(engine, 8, states, std::make_shared<Arena>(), std::make_shared<Arena>())
      .value();
}

std::vector<float> Floats(const TensorView& view) {
  const auto floats = view.as<const float>();
  return {floats.begin(), floats.end()};
}

class TextJob : public RecordedJob {
 public:
  TextJob(std::vector<float> values, std::vector<std::string_view> text)
      : RecordedJob(std::move(values), Shape{static_cast<int64_t>(text.size()), 3}),
        text_(std::move(text)) {
    AddInput({DataType::kString, Shape{static_cast<int64_t>(text_.size())}, text_.data()});
  }
  const void* text() const { return text_.data(); }

 private:
  std::vector<std::string_view> text_;
};

TEST(BatchRun, GathersRowsAndSlicesOutputs) {
  const auto run = RunOf(SmallEngine(1));
  const std::vector<BatchRun::Part> parts = {
      {std::make_shared<TextJob>(std::vector<float>{0, 0, 0, 10, 10, 10},
                                 std::vector<std::string_view>{"a", "b"})},
      {std::make_shared<TextJob>(std::vector<float>{5, 5, 5}, std::vector<std::string_view>{"c"})}};
  ASSERT_TRUE(run->Run(parts).ok());
  auto outputs = run->Outputs(0, 2);
  EXPECT_EQ(outputs[0].shape, (Shape{2, 3}));
  EXPECT_THAT(Floats(outputs[0]), ElementsAre(1, 2, 3, 11, 12, 13));
  EXPECT_THAT(outputs[1].as<const std::string_view>(), ElementsAre("a", "b"));
  outputs = run->Outputs(2, 1);
  EXPECT_THAT(Floats(outputs[0]), ElementsAre(6, 7, 8));
  EXPECT_THAT(outputs[1].as<const std::string_view>(), ElementsAre("c"));
}

TEST(BatchRun, CopiesNothingForAJobAlone) {
  const auto run = RunOf(SmallEngine(1));
  const auto job =
      std::make_shared<TextJob>(std::vector<float>{1, 1, 1}, std::vector<std::string_view>{"x"});
  const BatchRun::Part part{job};
  ASSERT_TRUE(run->Run(std::span(&part, 1)).ok());
  EXPECT_EQ(run->Outputs()[1].data, job->text()) << "the engine saw the job's own memory";
}

class StepJob : public RecordedJob {
 public:
  explicit StepJob(std::vector<float> x) : RecordedJob(std::move(x), Shape{1, 2}) { AddInput({}); }
};

TEST(BatchRun, FeedsAndKeepsStates) {
  const std::vector<StateSlot> states = {
      {.input = 1, .output = 1, .shape = Shape{1, 2}, .offset = 0, .bytes = 8}};
  const auto run = RunOf(SummingEngine(), states);
  Sequence a, b;
  const auto step = [&](std::vector<BatchRun::Part> parts) { ASSERT_TRUE(run->Run(parts).ok()); };
  step({{std::make_shared<StepJob>(std::vector<float>{1, 2}), &a}});  // alone, from zeros
  EXPECT_THAT(Floats(run->Outputs()[0]), ElementsAre(2, 4));
  step({{std::make_shared<StepJob>(std::vector<float>{10, 20}), &b},
        {std::make_shared<StepJob>(std::vector<float>{1, 1}), &a}});
  EXPECT_THAT(Floats(run->Outputs(0, 1)[1]), ElementsAre(10, 20));
  EXPECT_THAT(Floats(run->Outputs(1, 1)[1]), ElementsAre(2, 3));
  step({{std::make_shared<StepJob>(std::vector<float>{5, 5}), &b}});
  EXPECT_THAT(Floats(run->Outputs()[1]), ElementsAre(15, 25));
}

TEST(BatchRun, TakesAStateThatTheJobBrings) {
  const std::vector<StateSlot> states = {
      {.input = 1, .output = 1, .shape = Shape{1, 2}, .offset = 0, .bytes = 8}};
  const auto run = RunOf(SummingEngine(), states);
  Sequence a;
  std::vector<float> own = {100, 200};
  const auto job = std::make_shared<RecordedJob>(std::vector<float>{1, 1}, Shape{1, 2});
  job->AddInput({DataType::kFloat32, Shape{1, 2}, own.data()});
  const BatchRun::Part part{job, &a};
  ASSERT_TRUE(run->Run(std::span(&part, 1)).ok());
  EXPECT_THAT(Floats(run->Outputs()[1]), ElementsAre(101, 201));
}

TEST(BatchRun, KeepsStatesThatAreInputsPassedThrough) {
  // Two states that change places, and nothing is computed: outputs are the stored memory itself.
  const auto run_engine = EngineOf(R"(graph "swap" {
  input %x: f32[N,1]
  input %s: f32[N,1]
  input %t: f32[N,1]
  %y = Add(%x, %x)
  %next_s = Identity(%t)
  %next_t = Identity(%s)
  output %y
  output %next_s
  output %next_t
}
)");
  const std::vector<StateSlot> states = {
      {.input = 1, .output = 1, .shape = Shape{1, 1}, .offset = 0, .bytes = 4},
      {.input = 2, .output = 2, .shape = Shape{1, 1}, .offset = 16, .bytes = 4}};
  const auto run = RunOf(run_engine, states);
  Sequence a;
  std::vector<float> s = {1}, t = {2};
  const auto first = std::make_shared<RecordedJob>(std::vector<float>{0}, Shape{1, 1});
  first->AddInput({DataType::kFloat32, Shape{1, 1}, s.data()});
  first->AddInput({DataType::kFloat32, Shape{1, 1}, t.data()});
  const BatchRun::Part bring{first, &a};
  ASSERT_TRUE(run->Run(std::span(&bring, 1)).ok());
  for (int round = 0; round < 3; ++round) {
    const auto next = std::make_shared<RecordedJob>(std::vector<float>{0}, Shape{1, 1});
    next->AddInput({});
    next->AddInput({});
    const BatchRun::Part part{next, &a};
    ASSERT_TRUE(run->Run(std::span(&part, 1)).ok());
    EXPECT_EQ(Floats(run->Outputs()[1])[0], round % 2 == 0 ? 1 : 2);
    EXPECT_EQ(Floats(run->Outputs()[2])[0], round % 2 == 0 ? 2 : 1);
  }
}

}  // namespace
}  // namespace verdict
