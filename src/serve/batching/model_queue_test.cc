#include "serve/batching/model_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/batching/scheduler.h"
#include "serve/small_engine_test.h"

namespace verdict {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using ::testing::HasSubstr;
using Clock = Job::Clock;

/// Plays a model queue's scheduler with one compute thread, in fake time: what a run takes, the
/// test says.
class ModelQueueInFakeTime {
 public:
  static constexpr Clock::time_point kStart = Clock::time_point(std::chrono::hours(1));

  ModelQueueInFakeTime(const ModelConfig& config, const CostModel& cost) {
    const ModelQueue::Arenas arenas{std::make_shared<Arena>(), std::make_shared<Arena>()};
    queue_ = ModelQueue::Create(DoublingEngine(), config, std::span(&arenas, 1)).value();
    std::vector<nanoseconds> costs;
    for (int64_t rows = 1; rows <= 64; rows *= 2) costs.push_back(cost.Estimate(rows));
    queue_->cost_ = std::make_unique<CostModel>(costs);
    queue_->last_run_ = kStart;
  }

  ModelQueue& queue() { return *queue_; }

  Status Submit(const std::shared_ptr<Job>& job, Clock::time_point now) {
    const nanoseconds left = parts_.empty() ? nanoseconds(0) : expected_end_ - now;
    return queue_->Enter(job, now, std::max(left, nanoseconds(0)));
  }
  /// Begins a run if there is one to begin. Returns: its rows, or 0.
  int64_t Begin(Clock::time_point now) {
    while (queue_->TakeExpired(now) != nullptr) ++dropped_;
    return BeginBeforeWatcher(now);
  }
  /// The same, where the compute thread looks before the watching one.
  int64_t BeginBeforeWatcher(Clock::time_point now) {
    if (!queue_->CanStart()) return 0;
    const BatchDecision decision = queue_->Decide(now);
    for (const size_t index : decision.doomed) {
      queue_->RemoveDoomed(*queue_->candidate_jobs_[index], now);
      ++dropped_;
    }
    if (!decision.run) return 0;
    expected_end_ = now + queue_->cost().Estimate(decision.rows);
    queue_->Begin(now, &parts_);
    return decision.rows;
  }
  /// Ends it. Returns: the jobs that made their deadlines.
  int64_t End(Clock::time_point now, int64_t rows, nanoseconds compute) {
    const auto in_time = std::ranges::count_if(
        parts_, [&](const BatchRun::Part& part) { return now <= part.job->deadline; });
    queue_->cost_->Observe(rows, compute);
    queue_->End(parts_, rows, compute, now);
    parts_.clear();
    return in_time;
  }
  int64_t dropped() const { return dropped_; }

 private:
  std::shared_ptr<ModelQueue> queue_;
  std::vector<BatchRun::Part> parts_;
  Clock::time_point expected_end_;
  int64_t dropped_ = 0;
};

namespace {

constexpr Clock::time_point kStart = ModelQueueInFakeTime::kStart;

/// 200 us and 20 us a row.
CostModel BatchCost() {
  std::vector<nanoseconds> measured;
  for (int rows = 1; rows <= 64; rows *= 2) measured.push_back(microseconds(200 + 20 * rows));
  return CostModel(measured);
}

std::shared_ptr<RecordedJob> RowJob(Clock::time_point deadline) {
  auto job = std::make_shared<RecordedJob>(std::vector<float>{1, 2, 3}, Shape{1, 3});
  job->deadline = deadline;
  return job;
}

/// Poisson arrivals at `rate` a second with deadlines of 5 ms; runs vary by a fifth. Returns: jobs
/// a second that made their deadlines.
double Goodput(double rate) {
  ModelQueueInFakeTime model({.max_batch_size = 64}, BatchCost());
  std::mt19937_64 random(7);
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const auto after = [](double us) { return nanoseconds(static_cast<int64_t>(us * 1'000)); };
  const Clock::time_point end = kStart + std::chrono::seconds(2);
  Clock::time_point arrival = kStart, run_end = Clock::time_point::max(), run_start;
  int64_t rows = 0, in_time = 0;
  for (Clock::time_point now = kStart; now < end;) {
    now = std::min(arrival, run_end);
    if (now == run_end) {
      in_time += model.End(now, rows, now - run_start);
      run_end = Clock::time_point::max();
    } else {
      (void)model.Submit(RowJob(now + std::chrono::milliseconds(5)), now);
      arrival = now + after(-std::log(uniform()) / rate * 1e6);
    }
    if (run_end != Clock::time_point::max()) continue;
    rows = model.Begin(now);
    if (rows == 0) continue;
    run_start = now;
    run_end = now + after((200 + 20 * static_cast<double>(rows)) * (0.9 + 0.3 * uniform()));
  }
  return static_cast<double>(in_time) / 2;
}

TEST(ModelQueue, KeepsItsGoodputUnderOverload) {
  // A full batch takes 1,480 us, and on average a twentieth more.
  const double most = 64 / (1'480 * 1.05) * 1e6;
  const double sustainable = Goodput(0.9 * most);
  EXPECT_GE(sustainable, 0.9 * 0.95 * most);
  for (const double factor : {1.0, 1.3, 2.0, 5.0}) {
    EXPECT_GE(Goodput(factor * most), 0.9 * sustainable) << factor;
  }
}

TEST(ModelQueue, RefusesAtOnceWhatIsTooLate) {
  ModelQueueInFakeTime model({.max_batch_size = 64}, BatchCost());
  EXPECT_EQ(model.Submit(RowJob(kStart - microseconds(1)), kStart).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(model.Submit(RowJob(kStart + microseconds(219)), kStart).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(model.Submit(RowJob(kStart + microseconds(221)), kStart).ok());
  ASSERT_EQ(model.Begin(kStart), 1);
  const Status status = model.Submit(RowJob(kStart + microseconds(400)), kStart);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("the deadline is 400 us away"));
  EXPECT_EQ(model.queue().rejected().cannot_meet, 3U);
}

TEST(ModelQueue, CountsATimeoutAsOneWhoeverSeesIt) {
  ModelConfig config{.max_batch_size = 64};
  config.dynamic_batching.emplace().default_queue_policy.default_timeout_microseconds = 1'000;
  ModelQueueInFakeTime model(config, BatchCost());
  const Clock::time_point end = kStart + microseconds(1'000);
  ASSERT_TRUE(model.Submit(RowJob(Clock::time_point::max()), kStart).ok());
  ASSERT_TRUE(model.Submit(RowJob(kStart + microseconds(500)), kStart).ok());
  EXPECT_EQ(model.BeginBeforeWatcher(end), 0);
  EXPECT_EQ(model.queue().rejected().timeout, 1U);
  EXPECT_EQ(model.queue().rejected().cannot_meet, 1U) << "the other's deadline";
}

TEST(ModelQueue, DoubtsACostThatKeepsEverythingOut) {
  ModelQueueInFakeTime model({.max_batch_size = 64}, BatchCost());
  const auto try_at = [&](Clock::time_point now) {
    return model.Submit(RowJob(now + microseconds(100)), now).ok();
  };
  const Clock::time_point later = kStart + std::chrono::seconds(2);
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(try_at(later));
  EXPECT_FALSE(try_at(kStart + microseconds(1))) << "it ran a moment ago";
  EXPECT_TRUE(try_at(later));
  ASSERT_EQ(model.Begin(later), 1) << "the run that tells";
  EXPECT_EQ(model.End(later + microseconds(50), 1, microseconds(50)), 1);
  EXPECT_LT(model.queue().cost().Estimate(1), microseconds(220));
}

Status AddError(const std::shared_ptr<const Engine>& engine, const ModelConfig& config) {
  const auto scheduler = Scheduler::Start(1).value();
  return scheduler->Add(engine, config).status();
}

ModelConfig WithState(std::vector<SequenceState> state) {
  ModelConfig config;
  config.max_batch_size = 8;
  config.sequence_batching.emplace().state = std::move(state);
  return config;
}

TEST(ModelQueue, WhatWaitedForADeviceSaysNothingOfTheCost) {
  ModelQueueInFakeTime model({.max_batch_size = 64}, BatchCost());
  ModelQueue& queue = model.queue();
  const nanoseconds before = queue.cost().Estimate(1);
  for (const DeviceOutcome outcome : {DeviceOutcome::kBusy, DeviceOutcome::kFailed}) {
    for (int i = 0; i < 100; ++i) queue.Observe(1, 4 * before, outcome);
  }
  EXPECT_EQ(queue.cost().Estimate(1), before);
  for (int i = 0; i < 100; ++i) queue.Observe(1, 4 * before, DeviceOutcome::kDeclined);
  EXPECT_GT(queue.cost().Estimate(1), 2 * before);
}

TEST(ModelQueue, RefusesAConfigurationThatDoesNotSuitTheEngine) {
  struct Case {
    std::shared_ptr<const Engine> engine;
    ModelConfig config;
    std::string message;
  };
  ModelConfig ordered{.max_batch_size = 8};
  ordered.dynamic_batching.emplace().preserve_ordering = true;
  ordered.dynamic_batching->priority_levels = 2;
  ModelConfig levels;
  levels.dynamic_batching.emplace().priority_levels = 1'000'000'000;
  const auto fixed = EngineOf(R"(graph "fixed" {
  input %x: f32[7]
  %y = Add(%x, %x)
  output %y
}
)");
  const auto two_batches = EngineOf(R"(graph "two" {
  input %x: f32[N,3]
  input %z: f32[M,3]
  %y = Add(%x, %x)
  %w = Add(%z, %z)
  output %y
  output %w
}
)");
  const std::vector<Case> cases = {
      {MixingEngine(), {.max_batch_size = 8}, "rows depend on each other"},
      {DoublingEngine(), {.max_batch_size = 129}, "the engine's profiles take at most 128 rows"},
      {fixed, {.max_batch_size = 2}, "not one and the same symbol"},
      {two_batches, {.max_batch_size = 2}, "not one and the same symbol"},
      {DoublingEngine(), ordered, "preserve_ordering goes with one priority level"},
      {DoublingEngine(), levels, "priority_levels is over"},
      {SummingEngine(), WithState({}), "names no state"},
      {SummingEngine(), WithState({{"stat", "next"}}), "state 'stat' is no input"},
      {SummingEngine(), WithState({{"state", "nexd"}}), "state 'nexd' is no output"},
      {SummingEngine(), WithState({{"state", "next"}, {"state", "y"}}), "given twice"},
      {SmallEngine(1), WithState({{"x", "echo"}}), "state 'x' is f32[N,3], but its output 'echo'"},
      {SmallEngine(1), WithState({{"text", "echo"}}), "must be numbers"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.message);
    const Status status = AddError(test.engine, test.config);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(test.message));
  }
}

TEST(ModelQueue, TakesEnginesOfAnyKind) {
  const auto scheduler = Scheduler::Start(1).value();
  EXPECT_TRUE(scheduler->Add(MixingEngine(), {}).ok()) << "alone its rows may depend";
  for (const auto& engine : {SmallEngine(1), LookupEngine(), RaggedEngine(), SummingEngine()}) {
    const auto queue = scheduler->Add(engine, {.max_batch_size = 32});
    ASSERT_TRUE(queue.ok()) << queue.status().ToString();
    EXPECT_TRUE((*queue)->bit_exact());
    EXPECT_EQ((*queue)->max_rows(), 32);
    EXPECT_GT((*queue)->cost().Estimate(1).count(), 0);
  }
}

TEST(ModelQueue, SaysWhereBatchesRoundOtherwise) {
  // By the batch's extent the sum is taken in another order, as a kernel may.
  const auto scheduler = Scheduler::Start(1).value();
  const auto engine = EngineOf(R"(graph "rounding" {
  input %x: f32[N,3]
  const %zero: i64[] = [0]
  const %tiny: f32[] = [1e-7]
  %shape = Shape(%x)
  %n = Gather(%shape, %zero)
  %f = Cast(%n) {to=1}
  %small = Mul(%f, %tiny)
  %y = Add(%x, %small)
  output %y
}
)");
  const auto queue = scheduler->Add(engine, {.max_batch_size = 8});
  ASSERT_TRUE(queue.ok()) << queue.status().ToString();
  EXPECT_FALSE((*queue)->bit_exact());
}

// The wide tolerance of an engine that rounds activations is for single values that fall to the
// other side of a quantum, not for a little of the neighbours in every row.
TEST(ModelQueue, ALittleOfTheNeighboursIsNoRounding) {
  const auto scheduler = Scheduler::Start(1).value();
  const auto plain = EngineOf(R"(graph "mean" {
  input %x: f32[N,3]
  const %axes: i64[1] = [0]
  const %little: f32[] = [0.004]
  %mean = ReduceMean(%x, %axes)
  %part = Mul(%mean, %little)
  %y = Add(%x, %part)
  output %y
}
)");
  EngineContents contents = plain->contents();
  for (GoldenVector& golden : contents.golden) golden.tolerance = kMaxGoldenTolerance;
  const auto engine = Engine::FromContents(std::move(contents)).value();
  const auto queue = scheduler->Add(engine, {.max_batch_size = 32});
  ASSERT_FALSE(queue.ok());
  EXPECT_THAT(queue.status().message(), HasSubstr("rows depend on each other"));
}

}  // namespace
}  // namespace verdict
