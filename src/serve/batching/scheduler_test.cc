#include "serve/batching/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serve/batching/scheduler_fixture_test.h"

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = Job::Clock;

TEST_F(SchedulerTest, AnswersAJobAlone) {
  const auto queue = Add(DoublingEngine(), {.max_batch_size = 8});
  const auto job = Row(3);
  ASSERT_TRUE(Submit(queue, job).ok());
  ASSERT_TRUE(job->Wait().ok());
  EXPECT_THAT(job->output(0), ElementsAre(6, 6, 6));
  EXPECT_LE(job->times().queued, job->times().started);
  EXPECT_LE(job->times().started, job->times().computed);
}

TEST_F(SchedulerTest, CombinesWhatWaits) {
  const auto queue = Add(DoublingEngine(), {.max_batch_size = 8});
  Block();
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (int i = 0; i < 12; ++i) {
    jobs.push_back(Row(static_cast<float>(i)));
    ASSERT_TRUE(Submit(queue, jobs.back()).ok());
  }
  EXPECT_EQ(queue->pending(), 12U);
  gate_.Open();
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(jobs[static_cast<size_t>(i)]->Wait().ok());
    const auto v = static_cast<float>(2 * i);
    EXPECT_THAT(jobs[static_cast<size_t>(i)]->output(0), ElementsAre(v, v, v));
  }
  scheduler_.reset();  // then all is counted
  const auto sizes = queue->batch_sizes();
  EXPECT_EQ(sizes[BatchSizes::IndexOf(4)].runs, 1U);
  EXPECT_EQ(sizes[BatchSizes::IndexOf(8)].runs, 1U);
  EXPECT_EQ(sizes[BatchSizes::IndexOf(8)].rows, 8U);
  EXPECT_GT(sizes[BatchSizes::IndexOf(8)].infer_ns, 0U);
  EXPECT_EQ(jobs[0]->times().run_rows, 8);
  EXPECT_EQ(jobs[11]->times().run_rows, 4);
  EXPECT_EQ(queue->pending(), 0U);
}

TEST_F(SchedulerTest, CombinesEqualShapesOnly) {
  const auto queue = Add(RaggedEngine(), {.max_batch_size = 8});
  Block();
  const auto of = [](int64_t length) {
    return std::make_shared<RecordedJob>(std::vector<float>(static_cast<size_t>(length), 1),
                                         Shape{1, length});
  };
  const auto a = of(2), b = of(5), c = of(2);
  for (const auto& job : {a, b, c}) ASSERT_TRUE(Submit(queue, job).ok());
  gate_.Open();
  for (const auto& job : {a, b, c}) ASSERT_TRUE(job->Wait().ok());
  EXPECT_EQ(b->shape(0), (Shape{1, 5}));
  EXPECT_EQ(a->times().started, c->times().started);
  EXPECT_NE(a->times().started, b->times().started);
}

TEST_F(SchedulerTest, WaitsForNoMoreOnceItIsToHurry) {
  ModelConfig config{.max_batch_size = 2};
  config.dynamic_batching.emplace().max_queue_delay_microseconds = 3'600'000'000;
  const auto one = Add(DoublingEngine(), config), other = Add(DoublingEngine(), config);
  const auto withdrawn = Row(1), kept = Row(2), late = Row(3);
  ASSERT_TRUE(Submit(one, withdrawn).ok());
  ASSERT_TRUE(Submit(other, kept).ok());
  scheduler_->Hurry(one.get());
  EXPECT_TRUE(withdrawn->Wait().ok());
  ASSERT_TRUE(Submit(one, late).ok());
  EXPECT_TRUE(late->Wait().ok());
  EXPECT_EQ(kept->finishes(), 0);
  scheduler_->Hurry();
  EXPECT_TRUE(kept->Wait().ok());
}

TEST_F(SchedulerTest, WaitsForMoreNoLongerThanConfigured) {
  ModelConfig config{.max_batch_size = 2};
  config.dynamic_batching.emplace().max_queue_delay_microseconds = 20'000;
  const auto queue = Add(DoublingEngine(), config);
  const auto lone = Row(1);
  ASSERT_TRUE(Submit(queue, lone).ok());
  ASSERT_TRUE(lone->Wait().ok());
  EXPECT_GE(lone->times().started - lone->times().queued, milliseconds(20));
  // Two make a full batch, for which nobody waits an hour.
  config.dynamic_batching->max_queue_delay_microseconds = 3'600'000'000;
  const auto patient = Add(DoublingEngine(), config);
  const auto first = Row(1), second = Row(2);
  ASSERT_TRUE(Submit(patient, first).ok());
  ASSERT_TRUE(Submit(patient, second).ok());
  ASSERT_TRUE(first->Wait().ok());
  ASSERT_TRUE(second->Wait().ok());
  EXPECT_EQ(first->times().started, second->times().started);
  // Nor past a deadline; on a busy machine a thread may once wake too late for it.
  bool in_time = false;
  for (int attempt = 0; attempt < 20 && !in_time; ++attempt) {
    const auto urgent = Row(3);
    urgent->deadline = Clock::now() + milliseconds(50);
    ASSERT_TRUE(Submit(patient, urgent).ok());
    in_time = urgent->Wait().ok();
    EXPECT_TRUE(!in_time || urgent->times().started <= urgent->deadline);
  }
  EXPECT_TRUE(in_time);
}

// Scenario 10.
TEST_F(SchedulerTest, RefusesAtOnceWhenTheQueueIsFull) {
  ModelConfig config{.max_batch_size = 8};
  config.dynamic_batching.emplace().default_queue_policy.max_queue_size = 3;
  const auto queue = Add(DoublingEngine(), config);
  Block();
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Submit(queue, jobs.emplace_back(Row(1))).ok());
  const auto excess = Row(2);
  EXPECT_EQ(Submit(queue, excess).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(queue->rejected().full, 1U);
  gate_.Open();
  for (const auto& job : jobs) EXPECT_TRUE(job->Wait().ok());
  EXPECT_EQ(excess->finishes(), 0);
}

// Scenario 11.
TEST_F(SchedulerTest, RejectsWhatExpiresWhileAllThreadsAreInKernels) {
  const auto slow = Add(SlowEngine(), {});
  ModelConfig config{.max_batch_size = 8};
  auto& policy = config.dynamic_batching.emplace().default_queue_policy;
  policy.default_timeout_microseconds = 30'000;
  policy.allow_timeout_override = true;
  const auto queue = Add(DoublingEngine(), config);
  const auto long_run =
      std::make_shared<RecordedJob>(std::vector<float>(128 * 1024, 0.01F), Shape{128, 1024});
  ASSERT_TRUE(Submit(slow, long_run).ok());
  while (slow->pending() > 0) std::this_thread::yield();
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (uint64_t i = 1; i <= 10; ++i) {
    jobs.push_back(Row(1));
    jobs.back()->timeout_us = 1'000 * i;
    ASSERT_TRUE(Submit(queue, jobs.back()).ok());
  }
  std::vector<Clock::duration> late;
  for (const auto& job : jobs) {
    EXPECT_EQ(job->Wait().code(), StatusCode::kDeadlineExceeded);
    late.push_back(job->finished_at() - job->times().queued - microseconds(job->timeout_us));
    EXPECT_GE(late.back().count(), 0);
    EXPECT_EQ(job->num_outputs(), 0U);
    EXPECT_EQ(job->times().started, Clock::time_point{});
  }
  EXPECT_EQ(long_run->finishes(), 0) << "the engine should still have been stalled";
  // All of them were rejected during the run; how soon, a busy machine lets only the best show.
  EXPECT_LT(std::ranges::min(late), milliseconds(5));
  EXPECT_EQ(queue->rejected().timeout, 10U);
  EXPECT_EQ(queue->rejected().expired, 0U);
  EXPECT_TRUE(long_run->Wait().ok());
}

// Scenarios 12 and 15.
TEST_F(SchedulerTest, DoesNotExecuteWhatIsPastItsDeadline) {
  const auto queue = Add(DoublingEngine(), {.max_batch_size = 8});
  Block();
  std::this_thread::sleep_for(milliseconds(1));  // now the thread should long be free
  const auto short_one = Row(1), long_one = Row(2);
  short_one->deadline = Clock::now() + milliseconds(20);
  long_one->deadline = Clock::now() + std::chrono::hours(1);
  ASSERT_TRUE(Submit(queue, short_one).ok());
  ASSERT_TRUE(Submit(queue, long_one).ok());
  EXPECT_EQ(short_one->Wait().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(long_one->finishes(), 0);
  gate_.Open();
  EXPECT_TRUE(long_one->Wait().ok());
  EXPECT_EQ(short_one->times().started, Clock::time_point{});
  EXPECT_EQ(short_one->finishes(), 1);
  const auto past = Row(3);
  past->deadline = Clock::now() - microseconds(1);
  EXPECT_EQ(Submit(queue, past).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue->rejected().cannot_meet, 1U);
}

TEST_F(SchedulerTest, RefusesAtOnceWhatThereIsNoTimeFor) {
  const auto slow = Add(SlowEngine(), {});
  const auto job =
      std::make_shared<RecordedJob>(std::vector<float>(128 * 1024, 0.01F), Shape{128, 1024});
  job->deadline = Clock::now() + microseconds(500);
  const Status status = Submit(slow, job);
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("a run takes"));
}

TEST_F(SchedulerTest, CountsWhatOtherModelsHaveWaitingBeforeAJob) {
  ModelConfig config{.max_batch_size = 8};
  config.dynamic_batching = {.priority_levels = 2, .default_priority_level = 2};
  const auto queue = Add(DoublingEngine(), config), slow = Add(SlowEngine(), {});
  Block();
  for (int i = 0; i < 100; ++i) {
    const auto job = std::make_shared<RecordedJob>(std::vector<float>(1024, 0.01F), Shape{1, 1024});
    ASSERT_TRUE(Submit(slow, job).ok());
  }
  const auto run = slow->cost().Estimate(1);
  const auto submit_low = [&](std::chrono::nanoseconds left) {
    const auto job = Row(1);
    job->deadline = Clock::now() + left;
    return Submit(queue, job);
  };
  const Status status = submit_low(50 * run);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
  EXPECT_TRUE(submit_low(400 * run).ok());
}

// Scenario 13.
TEST_F(SchedulerTest, LetsHighPriorityOvertakeLow) {
  ModelConfig config{.max_batch_size = 1};
  config.dynamic_batching = {.priority_levels = 2, .default_priority_level = 2};
  const auto queue = Add(DoublingEngine(), config);
  Block();
  const auto low = Row(1), default_low = Row(2), high = Row(3);
  low->priority = 2;
  high->priority = 1;
  for (const auto& job : {low, default_low, high}) ASSERT_TRUE(Submit(queue, job).ok());
  gate_.Open();
  for (const auto& job : {low, default_low, high}) ASSERT_TRUE(job->Wait().ok());
  EXPECT_LT(high->times().started, low->times().started);
  EXPECT_LT(low->times().started, default_low->times().started);
}

// Scenario 14.
TEST_F(SchedulerTest, ForgetsCancelledJobs) {
  const auto queue = Add(DoublingEngine(), {.max_batch_size = 64});
  Block();
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  std::vector<std::weak_ptr<RecordedJob>> cancelled;
  for (int i = 0; i < 20; ++i) {
    const auto job = Row(static_cast<float>(i));
    ASSERT_TRUE(Submit(queue, job).ok());
    if (i % 2 == 0) {
      jobs.push_back(job);
    } else {
      EXPECT_TRUE(scheduler_->Cancel(*queue, *job));
      EXPECT_FALSE(scheduler_->Cancel(*queue, *job));
      cancelled.push_back(job);
    }
  }
  for (const auto& job : cancelled) EXPECT_TRUE(job.expired()) << "somebody still holds it";
  EXPECT_EQ(queue->pending(), 10U);
  gate_.Open();
  for (const auto& job : jobs) EXPECT_TRUE(job->Wait().ok());
  EXPECT_FALSE(scheduler_->Cancel(*queue, *jobs[0])) << "it has long run";
  scheduler_.reset();
  EXPECT_EQ(queue->batch_sizes()[BatchSizes::IndexOf(10)].runs, 1U);
  EXPECT_EQ(queue->rejected().cancelled, 10U);
}

TEST_F(SchedulerTest, KeepsTheOrderOfArrivalWhereAsked) {
  ModelConfig config{.max_batch_size = 2};
  config.dynamic_batching.emplace().preserve_ordering = true;
  scheduler_ = Scheduler::Start(3).value();
  const auto queue = Add(DoublingEngine(), config);
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (int i = 0; i < 50; ++i) {
    jobs.push_back(Row(1));
    jobs.back()->before_finish = [&, i] {
      const std::lock_guard lock(mutex);
      order.push_back(i);
    };
    jobs.back()->deadline = Clock::now() + std::chrono::hours(100 - i);
    ASSERT_TRUE(Submit(queue, jobs.back()).ok());
  }
  for (const auto& job : jobs) ASSERT_TRUE(job->Wait().ok());
  EXPECT_TRUE(std::ranges::is_sorted(order));
  scheduler_.reset();
}

/// A row of LookupEngine's.
class IndexJob : public RecordedJob {
 public:
  explicit IndexJob(int64_t index) : RecordedJob({}, Shape{1}), index_(index) {
    view_ = {DataType::kInt64, Shape{1}, &index_};
    inputs = std::span(&view_, 1);
  }

 private:
  int64_t index_;
  TensorView view_;
};

TEST_F(SchedulerTest, SparesOthersTheErrorOfOne) {
  const auto queue = Add(LookupEngine(), {.max_batch_size = 8});
  Block();
  const auto good = std::make_shared<IndexJob>(1), bad = std::make_shared<IndexJob>(7),
             fine = std::make_shared<IndexJob>(2);
  for (const auto& job : {good, bad, fine}) ASSERT_TRUE(Submit(queue, job).ok());
  gate_.Open();
  ASSERT_TRUE(good->Wait().ok()) << good->Wait().ToString();
  EXPECT_THAT(good->output(0), ElementsAre(10, 11));
  EXPECT_FALSE(bad->Wait().ok());
  EXPECT_EQ(bad->num_outputs(), 0U);
  ASSERT_TRUE(fine->Wait().ok());
  EXPECT_THAT(fine->output(0), ElementsAre(20, 21));
}

TEST_F(SchedulerTest, DoesNotRunAgainWhatIsPastItsDeadlineByThen) {
  const auto queue = Add(LookupEngine(), {.max_batch_size = 8});
  Block();
  const auto bad = std::make_shared<IndexJob>(7), late = std::make_shared<IndexJob>(1),
             fine = std::make_shared<IndexJob>(2);
  late->deadline = Clock::now() + std::chrono::seconds(2);
  // Their common run fails, and each is to run alone: after the first one's answer it is too late
  // for the second.
  bad->deadline = late->deadline - milliseconds(1);  // so that it goes first
  bad->before_finish = [&] { std::this_thread::sleep_until(late->deadline); };
  for (const auto& job : {bad, late, fine}) ASSERT_TRUE(Submit(queue, job).ok());
  gate_.Open();
  EXPECT_EQ(late->Wait().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late->num_outputs(), 0U);
  EXPECT_TRUE(fine->Wait().ok());
  EXPECT_NE(bad->Wait().code(), StatusCode::kDeadlineExceeded) << "the three were not one batch";
}

TEST_F(SchedulerTest, RefusesInputsThatTheModelDoesNotTake) {
  const auto queue = Add(DoublingEngine(), {.max_batch_size = 8});
  const auto expect = [&](const std::shared_ptr<RecordedJob>& job, const std::string& message) {
    const Status status = Submit(queue, job);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(message));
  };
  expect(std::make_shared<RecordedJob>(std::vector<float>(27), Shape{9, 3}),
         "the request has 9 rows, the model takes 1 to 8");
  expect(std::make_shared<RecordedJob>(std::vector<float>(4), Shape{1, 4}), "input 'x'");
  const auto lies = Row(1);
  lies->rows = 4;
  expect(lies, "but the request has 4 rows");
  const auto two = Row(1);
  two->AddInput({});
  expect(two, "the engine has 1 inputs, got 2");
}

TEST_F(SchedulerTest, IsFairToModels) {
  // A stream of urgent jobs of one model, and one job of low priority of another.
  ModelConfig urgent{.max_batch_size = 1};
  urgent.dynamic_batching = {.priority_levels = 2, .default_priority_level = 1};
  ModelConfig low = urgent;
  low.dynamic_batching->default_priority_level = 2;
  const auto first = Add(DoublingEngine(), urgent), second = Add(DoublingEngine(), low);
  std::atomic<bool> stop{false};
  std::atomic<int> urgent_done{0};
  // Each job submits the next: there is always one that waits.
  Scheduler* const scheduler = scheduler_.get();  // stays valid while its last jobs end
  std::function<void()> submit = [&] {
    if (stop) return;
    const auto job = Row(1);
    job->before_finish = [&] {
      ++urgent_done;
      submit();
    };
    (void)scheduler->Submit(first, job);
  };
  submit();
  submit();
  const auto patient = Row(2);
  ASSERT_TRUE(Submit(second, patient).ok());
  ASSERT_TRUE(patient->Wait().ok());
  EXPECT_GE(patient->times().started - patient->times().queued, kPatience / 2)
      << "the urgent ones go first for a while";
  EXPECT_GT(urgent_done, 0);
  stop = true;
  scheduler_.reset();  // before what its jobs refer to
}

TEST_F(SchedulerTest, TakesTheEarlierDeadlineOfTwoModels) {
  const auto first = Add(DoublingEngine(), {}), second = Add(DoublingEngine(), {});
  Block();
  const auto late = Row(1), early = Row(2), never = Row(3);
  late->deadline = Clock::now() + std::chrono::milliseconds(200);
  early->deadline = Clock::now() + std::chrono::milliseconds(150);
  ASSERT_TRUE(Submit(first, never).ok());
  ASSERT_TRUE(Submit(first, late).ok());
  ASSERT_TRUE(Submit(second, early).ok());
  gate_.Open();
  for (const auto& job : {late, early, never}) ASSERT_TRUE(job->Wait().ok());
  EXPECT_LT(early->times().started, late->times().started);
  EXPECT_LT(late->times().started, never->times().started);
}

TEST(Scheduler, RunsNoMoreOfAModelAtATimeThanConfigured) {
  const auto scheduler = Scheduler::Start(3).value();
  ModelConfig config{.max_batch_size = 1};
  config.instance_count = 2;
  const auto queue = scheduler->Add(DoublingEngine(), config).value();
  Turnstile gate;
  std::atomic<int> at_once{0}, most{0};
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(Row(1));
    jobs.back()->before_finish = [&] {
      const int now = ++at_once;
      int seen = most;
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      gate.Enter();
      --at_once;
    };
    ASSERT_TRUE(scheduler->Submit(queue, jobs.back()).ok());
  }
  gate.AwaitEntered(2);
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(most, 2);
  // The third thread is free for others.
  const auto other = scheduler->Add(DoublingEngine(), {}).value();
  const auto job = Row(1);
  ASSERT_TRUE(scheduler->Submit(other, job).ok());
  EXPECT_TRUE(job->Wait().ok());
  gate.Open();
  for (const auto& waiting : jobs) EXPECT_TRUE(waiting->Wait().ok());
  EXPECT_EQ(most, 2);
}

TEST(Scheduler, AnswersWhatWaitsWhenAModelIsLetGo) {
  const auto scheduler = Scheduler::Start(1).value();
  auto engine = DoublingEngine();
  const std::weak_ptr<const Engine> alive = engine;
  auto queue = scheduler->Add(std::move(engine), {.max_batch_size = 2}).value();
  Turnstile gate;
  const auto blocker = Row(0);
  blocker->before_finish = [&] { gate.Enter(); };
  ASSERT_TRUE(scheduler->Submit(queue, blocker).ok());
  gate.AwaitEntered();
  const auto job = Row(4);
  ASSERT_TRUE(scheduler->Submit(queue, job).ok());
  queue.reset();
  gate.Open();
  ASSERT_TRUE(job->Wait().ok());
  EXPECT_THAT(job->output(0), ElementsAre(8, 8, 8));
  for (int i = 0; i < 10'000 && !alive.expired(); ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(alive.expired()) << "its memory is given back";
  // One that is idle is gone at once.
  auto idle_engine = DoublingEngine();
  const std::weak_ptr<const Engine> idle_alive = idle_engine;
  auto idle = scheduler->Add(std::move(idle_engine), {}).value();
  idle.reset();
  EXPECT_TRUE(idle_alive.expired());
}

TEST(Scheduler, FailsWhatWaitsWhenItStops) {
  auto scheduler = Scheduler::Start(1).value();
  const auto queue = scheduler->Add(DoublingEngine(), {.max_batch_size = 8}).value();
  Turnstile gate;
  const auto blocker = Row(0), waiting = Row(1);
  blocker->before_finish = [&] { gate.Enter(); };
  ASSERT_TRUE(scheduler->Submit(queue, blocker).ok());
  gate.AwaitEntered();
  ASSERT_TRUE(scheduler->Submit(queue, waiting).ok());
  std::thread stopper([&] { scheduler.reset(); });
  EXPECT_EQ(waiting->Wait().code(), StatusCode::kUnavailable);
  gate.Open();
  stopper.join();
  EXPECT_TRUE(blocker->Wait().ok()) << "what runs is answered";
}

}  // namespace
}  // namespace verdict
