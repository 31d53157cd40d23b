// Runs on a device that take too long, with the fake one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/device_fixture_test.h"
#include "serve/batching/scheduler_fixture_test.h"

namespace verdict {
namespace {

using std::chrono::milliseconds;
using Clock = Job::Clock;

std::shared_ptr<RecordedJob> SixOf(float value) {
  return std::make_shared<RecordedJob>(std::vector<float>(6, value), Shape{1, 6});
}

/// One compute thread, a model on a device, and the fixture's, which has none.
class SchedulerDeviceTest : public SchedulerTest {
 protected:
  static constexpr milliseconds kLong{200};
  static FakeDeviceOptions SlowDevice() {
    FakeDeviceOptions options;
    options.latency_us = static_cast<uint32_t>(std::chrono::microseconds(kLong).count());
    return options;
  }
  static FakeDeviceOptions HangingDevice() {
    FakeDeviceOptions options;
    options.run_timeout_ms = static_cast<uint32_t>(kLong.count());
    return options;
  }

  ~SchedulerDeviceTest() override {
    scheduler_.reset();
    queue_.reset();
    if (engine_ != nullptr) engine_->device_slot().Attach(nullptr);
  }

  void Start(const FakeDeviceOptions& options, int streams, const ModelConfig& config = {},
             const char* text = kDeviceMlp) {
    device_ = MakeFakeDevice(options);
    engine_ = EngineFor(*device_, text);
    queue_ = Add(engine_, config);
    queue_->SetDeviceStreams(streams);
    auto link = std::make_shared<DeviceLink>();
    link->engine = DeviceEngine::Load(device_, *engine_, engine_->contents().device_plans.at(0),
                                      {.streams = streams})
                       .value();
    link->on_failure = [this](const Status&) { ++failures_; };
    engine_->device_slot().Attach(std::move(link));
    if (options.run_timeout_ms == kLong.count()) {
      ASSERT_TRUE(device_->InjectFault("hang").ok());
    }
  }

  /// The compute thread has other things to do all the while.
  void ExpectOthersAreAnswered() {
    const auto begin = Clock::now();
    for (int i = 0; i < 10; ++i) {
      const auto job = Row(1);
      ASSERT_TRUE(Submit(blocker_queue_, job).ok());
      ASSERT_TRUE(job->Wait().ok());
    }
    EXPECT_LT(Clock::now() - begin, 3 * kLong / 4);
  }

  /// Rightly, and with what came of the device.
  void ExpectAnswer(RecordedJob& job, DeviceOutcome outcome) {
    ASSERT_TRUE(job.Wait().ok()) << job.Wait().ToString();
    std::vector<float> answer = job.output(0);
    const TensorView view{DataType::kFloat32, job.shape(0), answer.data()};
    EXPECT_LE(Error(*engine_, job.inputs[0], std::span(&view, 1)), 1e-5);
    EXPECT_EQ(job.times().device, outcome);
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<const Engine> engine_;
  std::shared_ptr<ModelQueue> queue_;
  std::atomic<int> failures_ = 0;
};

TEST_F(SchedulerDeviceTest, ASlowRunKeepsNoThreadAndIsAnsweredByTheDevice) {
  Start(SlowDevice(), 1);
  const auto job = SixOf(1);
  const auto begin = Clock::now();
  ASSERT_TRUE(Submit(queue_, job).ok());
  ExpectOthersAreAnswered();
  EXPECT_FALSE(queue_->quiet()) << "it still runs";
  EXPECT_EQ(queue_->late_runs(), 1U);
  ExpectAnswer(*job, DeviceOutcome::kAnswered);
  EXPECT_GE(job->finished_at() - begin, kLong);
  EXPECT_EQ(failures_, 0);
}

TEST_F(SchedulerDeviceTest, TheCpuAnswersWhatHangsAndAtOnceWhatComesBehind) {
  Start(HangingDevice(), 1);
  const auto job = SixOf(1), behind = SixOf(2);
  ASSERT_TRUE(Submit(queue_, job).ok());
  ExpectOthersAreAnswered();
  ASSERT_TRUE(Submit(queue_, behind).ok());
  ExpectAnswer(*behind, DeviceOutcome::kBusy);
  EXPECT_EQ(job->finishes(), 0);
  ExpectAnswer(*job, DeviceOutcome::kFailed);
  EXPECT_EQ(failures_, 1);
}

TEST_F(SchedulerDeviceTest, ABatchIsGatheredAgain) {
  Start(SlowDevice(), 1, {.max_batch_size = 8});
  Block();
  const auto one = SixOf(1), two = SixOf(2);
  ASSERT_TRUE(Submit(queue_, one).ok());
  ASSERT_TRUE(Submit(queue_, two).ok());
  gate_.Open();
  ExpectOthersAreAnswered();  // which use the thread's memory
  ExpectAnswer(*one, DeviceOutcome::kAnswered);
  ExpectAnswer(*two, DeviceOutcome::kAnswered);
  EXPECT_EQ(one->times().run_rows, 2);
}

TEST_F(SchedulerDeviceTest, APlanOfSeveralPartsIsGoneOnWithMoreThanOnce) {
  Start(SlowDevice(), 1, {}, kDeviceTrees);
  const auto job = SixOf(1);
  const auto begin = Clock::now();
  ASSERT_TRUE(Submit(queue_, job).ok());
  std::this_thread::sleep_for(kLong);
  ExpectOthersAreAnswered();
  ASSERT_TRUE(job->Wait().ok());
  EXPECT_GE(job->finished_at() - begin, 2 * kLong);
  EXPECT_EQ(job->times().device, DeviceOutcome::kAnswered);
}

TEST_F(SchedulerDeviceTest, InOrderTheNextOneWaits) {
  ModelConfig config{.max_batch_size = 1};
  config.dynamic_batching.emplace().preserve_ordering = true;
  Start(HangingDevice(), 2, config);
  const auto first = SixOf(1), second = SixOf(2);
  ASSERT_TRUE(Submit(queue_, first).ok());
  ASSERT_TRUE(Submit(queue_, second).ok());
  ExpectOthersAreAnswered();
  const auto near = SixOf(3);
  near->deadline = Clock::now() + std::chrono::seconds(60);
  ASSERT_TRUE(Submit(queue_, near).ok()) << "how long it waits is not known";
  ExpectAnswer(*second, DeviceOutcome::kNotThere);
  EXPECT_LE(first->finished_at(), second->finished_at());
  ExpectAnswer(*first, DeviceOutcome::kFailed);
}

TEST_F(SchedulerDeviceTest, ASequenceKeepsItsStateAndItsOrder) {
  constexpr char kSum[] = R"(graph "sum" {
  input %x: f32[N,6]
  input %state: f32[N,6]
  %next = Add(%state, %x)
  output %next
}
)";
  ModelConfig config;
  config.sequence_batching.emplace().state = {{"state", "next"}};
  Start(SlowDevice(), 2, config, kSum);
  std::vector<std::shared_ptr<RecordedJob>> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(SixOf(static_cast<float>(i + 1)));
    jobs.back()->AddInput({DataType::kFloat32, Shape{1, 6}, nullptr});
    jobs.back()->sequence = "s";
    jobs.back()->sequence_start = i == 0;
    ASSERT_TRUE(Submit(queue_, jobs.back()).ok());
  }
  ExpectOthersAreAnswered();
  const float sums[] = {1, 3, 6};
  for (size_t i = 0; i < jobs.size(); ++i) {
    ASSERT_TRUE(jobs[i]->Wait().ok()) << jobs[i]->Wait().ToString();
    EXPECT_EQ(jobs[i]->times().device, DeviceOutcome::kAnswered);
    EXPECT_EQ(jobs[i]->output(0)[0], sums[i]);
  }
}

TEST_F(SchedulerDeviceTest, GoesOnWithWhatAnotherThreadHasBegun) {
  for (const bool hangs : {false, true}) {
    Start(hangs ? HangingDevice() : SlowDevice(), 2);
    const auto session = Session::Create(engine_).value();
    const auto job = SixOf(3);
    const auto begin = Clock::now();
    DeviceRun run;
    ASSERT_TRUE(session->Run(job->inputs, begin + queue_->Patience(1), &run).ok());
    ASSERT_TRUE(run);
    EXPECT_LT(Clock::now() - begin, 3 * kLong / 4);
    ASSERT_TRUE(scheduler_->GoOn(queue_, job, begin, &run).ok());
    EXPECT_FALSE(run);
    EXPECT_FALSE(queue_->quiet());
    ExpectOthersAreAnswered();
    ExpectAnswer(*job, hangs ? DeviceOutcome::kFailed : DeviceOutcome::kAnswered);
    EXPECT_EQ(job->times().started, begin);
    while (!queue_->quiet()) std::this_thread::yield();
    engine_->device_slot().Attach(nullptr);
  }
}

TEST_F(SchedulerDeviceTest, AStopWaitsForWhatIsUnderWay) {
  Start(HangingDevice(), 1);
  const auto job = SixOf(1);
  ASSERT_TRUE(Submit(queue_, job).ok());
  std::this_thread::sleep_for(milliseconds(50));
  scheduler_.reset();
  EXPECT_EQ(job->finishes(), 1);
  ExpectAnswer(*job, DeviceOutcome::kFailed);
}

TEST_F(SchedulerDeviceTest, RunsBesideItHaveAStreamEach) {
  Start(SlowDevice(), 2);
  std::optional<HereRun> one(queue_->TryRun()), two(queue_->TryRun());
  EXPECT_TRUE(*one && *two);
  EXPECT_FALSE(queue_->TryRun()) << "it would wait";
  one.reset();
  EXPECT_TRUE(queue_->TryRun());
  two.reset();
  const auto job = SixOf(1);
  ASSERT_TRUE(Submit(queue_, job).ok());
  while (queue_->pending() > 0) std::this_thread::yield();
  one.emplace(queue_->TryRun());
  EXPECT_TRUE(*one);
  EXPECT_FALSE(queue_->TryRun()) << "the scheduler's has the other stream";
  ASSERT_TRUE(job->Wait().ok());
  engine_->device_slot().Attach(nullptr);
  two.emplace(queue_->TryRun());
  EXPECT_TRUE(*two) << "on the CPU nothing is waited for";
  EXPECT_TRUE(queue_->TryRun());
}

/// The rows of a batch that the CPU refuses run alone, and must not wait for the stream: the thread
/// that goes on with the late run is theirs.
TEST_F(SchedulerDeviceTest, ABadRowBesideALateRunHoldsUpNobody) {
  Start(SlowDevice(), 1, {.max_batch_size = 8}, R"(graph "pick" {
  input %x: f32[N,6]
  const %table: f32[8] = seed(1)
  const %w: f32[6,3] = seed(2)
  %i = Cast(%x) {to=7}
  %y = Gather(%table, %i) {axis=0}
  %z = MatMul(%y, %w)
  output %z
}
)");
  const auto late = SixOf(1), good = SixOf(2), bad = SixOf(99);
  ASSERT_TRUE(Submit(queue_, late).ok());
  ExpectOthersAreAnswered();  // by now it has been left to the device
  Block();
  ASSERT_TRUE(Submit(queue_, good).ok());
  ASSERT_TRUE(Submit(queue_, bad).ok());
  gate_.Open();
  ExpectAnswer(*good, DeviceOutcome::kBusy);
  EXPECT_EQ(bad->Wait().code(), StatusCode::kInvalidArgument);
  ExpectAnswer(*late, DeviceOutcome::kAnswered);
}

}  // namespace
}  // namespace verdict
