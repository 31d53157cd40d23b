// The scheduler's part in stateful models: which sequence's state a job goes on from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "serve/batching/scheduler_fixture_test.h"

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = Job::Clock;

using SchedulerSequences = SchedulerTest;

std::shared_ptr<RecordedJob> Step(const std::string& key, float x) {
  auto job = std::make_shared<RecordedJob>(std::vector<float>{x, -x}, Shape{1, 2});
  job->AddInput({});
  job->sequence = key;
  return job;
}

ModelConfig Summing() {
  ModelConfig config{.max_batch_size = 8};
  config.sequence_batching.emplace().state = {{"state", "next"}};
  config.sequence_batching->max_sequence_idle_microseconds = 3'600'000'000;
  return config;
}

TEST_F(SchedulerSequences, KeepsAStatePerSequence) {
  const auto queue = Add(SummingEngine(), Summing());
  Block();
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (const auto& [key, x] : std::vector<std::pair<std::string, float>>{
           {"a", 1}, {"b", 10}, {"a", 2}, {"a", 3}, {"b", 20}}) {
    jobs.push_back(Step(key, x));
    jobs.back()->sequence_start = jobs.size() <= 2;
    ASSERT_TRUE(Submit(queue, jobs.back()).ok());
  }
  EXPECT_EQ(queue->pending(), 5U);
  gate_.Open();
  const std::vector<float> sums = {1, 10, 3, 6, 30};
  for (size_t i = 0; i < jobs.size(); ++i) {
    ASSERT_TRUE(jobs[i]->Wait().ok()) << jobs[i]->Wait().ToString();
    EXPECT_THAT(jobs[i]->output(1), ElementsAre(sums[i], -sums[i])) << i;
    EXPECT_THAT(jobs[i]->output(0), ElementsAre(2 * sums[i], -2 * sums[i])) << i;
  }
  EXPECT_EQ(jobs[0]->times().started, jobs[1]->times().started) << "keys share a batch";
  const auto restart = Step("a", 5), ending = Step("a", 1);
  restart->sequence_start = true;
  ending->sequence_end = true;
  for (const auto& job : {restart, ending}) ASSERT_TRUE(Submit(queue, job).ok());
  for (const auto& job : {restart, ending}) ASSERT_TRUE(job->Wait().ok());
  EXPECT_EQ(restart->output(1)[0], 5);
  EXPECT_EQ(ending->output(1)[0], 6);
  while (queue->sequences().held > 1) std::this_thread::sleep_for(milliseconds(1));
}

TEST_F(SchedulerSequences, RefusesToGoOnWithASequenceThatItDoesNotKnow) {
  const auto queue = Add(SummingEngine(), Summing());
  const Status status = Submit(queue, Step("card-7", 1));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("sequence card-7"));
  EXPECT_THAT(status.message(), HasSubstr("must specify the START flag"));
  EXPECT_EQ(queue->sequences().held, 0U) << "nor does it take another one's room";
  // One that brings its state needs none.
  std::vector<float> state = {100, 200};
  const auto brings = std::make_shared<RecordedJob>(std::vector<float>{1, -1}, Shape{1, 2});
  brings->AddInput({DataType::kFloat32, Shape{1, 2}, state.data()});
  brings->sequence = "card-7";
  ASSERT_TRUE(Submit(queue, brings).ok());
  ASSERT_TRUE(brings->Wait().ok()) << brings->Wait().ToString();
  EXPECT_EQ(brings->output(1)[0], 101);
}

TEST_F(SchedulerSequences, DoesNotGoOnFromBeforeAStartThatIsRefused) {
  const auto queue = Add(SummingEngine(), Summing());
  const auto begin = [&] {
    const auto job = Step("a", 1);
    job->sequence_start = true;
    ASSERT_TRUE(Submit(queue, job).ok());
    ASSERT_TRUE(job->Wait().ok());
  };
  begin();
  const auto late = Step("a", 2);
  late->sequence_start = true;
  late->deadline = Clock::now() - microseconds(1);
  EXPECT_EQ(Submit(queue, late).code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Submit(queue, Step("a", 3)).message(), HasSubstr("must specify the START flag"));
  begin();
  const auto wrong = std::make_shared<RecordedJob>(std::vector<float>{1}, Shape{1, 1});
  wrong->AddInput({});
  wrong->sequence = "a";
  wrong->sequence_start = true;
  EXPECT_EQ(Submit(queue, wrong).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Submit(queue, Step("a", 3)).message(), HasSubstr("must specify the START flag"));
}

TEST_F(SchedulerSequences, NeedsASequenceOfOneRowWhereThereIsAState) {
  const auto queue = Add(SummingEngine(), Summing());
  EXPECT_THAT(Submit(queue, Step("", 1)).message(), HasSubstr("name the sequence"));
  const auto two = std::make_shared<RecordedJob>(std::vector<float>(4), Shape{2, 2});
  two->AddInput({});
  two->rows = 2;
  two->sequence = "a";
  EXPECT_THAT(Submit(queue, two).message(), HasSubstr("has one row, got 2"));
}

TEST_F(SchedulerSequences, ForgetsSequencesThatAreIdleForLong) {
  ModelConfig config = Summing();
  config.sequence_batching->max_sequence_idle_microseconds = 10'000;
  const auto queue = Add(SummingEngine(), config);
  const auto job = Step("a", 1);
  job->sequence_start = true;
  ASSERT_TRUE(Submit(queue, job).ok());
  ASSERT_TRUE(job->Wait().ok());
  while (queue->sequences().expired == 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(queue->sequences().held, 0U);
}

TEST_F(SchedulerSequences, ForgetsASequenceThatIsIdleSinceAJobOfItWasCancelled) {
  ModelConfig config = Summing();
  config.sequence_batching->max_sequence_idle_microseconds = 10'000;
  const auto queue = Add(SummingEngine(), config);
  const auto start = Step("a", 1), waiting = Step("a", 2);
  start->sequence_start = true;
  ASSERT_TRUE(Submit(queue, start).ok());
  Block();
  ASSERT_TRUE(Submit(queue, waiting).ok());
  // Nothing expires meanwhile, and the watching thread lies down for ever.
  std::this_thread::sleep_for(milliseconds(40));
  ASSERT_TRUE(scheduler_->Cancel(*queue, *waiting));
  for (int i = 0; i < 5'000 && queue->sequences().held > 0; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(queue->sequences().held, 0U);
  EXPECT_EQ(queue->sequences().expired, 1U);
}

TEST_F(SchedulerSequences, GivesTheTurnOnWhenASequencesFirstJobIsCancelled) {
  const auto queue = Add(SummingEngine(), Summing());
  Block();
  const auto first = Step("a", 1), second = Step("a", 2), third = Step("a", 3);
  first->sequence_start = third->sequence_start = true;
  for (const auto& job : {first, second, third}) ASSERT_TRUE(Submit(queue, job).ok());
  EXPECT_TRUE(scheduler_->Cancel(*queue, *first));
  gate_.Open();
  EXPECT_EQ(second->Wait().code(), StatusCode::kInvalidArgument) << "what began it is gone";
  ASSERT_TRUE(third->Wait().ok());
  EXPECT_EQ(third->output(1)[0], 3);
}

}  // namespace
}  // namespace verdict
