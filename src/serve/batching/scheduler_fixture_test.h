#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/batching/scheduler.h"

namespace verdict {

inline std::shared_ptr<RecordedJob> Row(float value) {
  return std::make_shared<RecordedJob>(std::vector<float>{value, value, value}, Shape{1, 3});
}

/// One thread, a model that doubles, and a gate that keeps the thread busy.
class SchedulerTest : public testing::Test {
 protected:
  explicit SchedulerTest(int threads = 1) : scheduler_(Scheduler::Start(threads).value()) {
    blocker_queue_ = scheduler_->Add(DoublingEngine(), {}).value();
  }
  ~SchedulerTest() override { gate_.Open(); }

  std::shared_ptr<ModelQueue> Add(const std::shared_ptr<const Engine>& engine,
                                  const ModelConfig& config) {
    return scheduler_->Add(engine, config).value();
  }
  Status Submit(const std::shared_ptr<ModelQueue>& queue, const std::shared_ptr<Job>& job) {
    return scheduler_->Submit(queue, job);
  }
  /// Until OpenGate, a compute thread does nothing.
  void Block() {
    const auto job = Row(0);
    job->before_finish = [this] { gate_.Enter(); };
    blockers_.push_back(job);
    ASSERT_TRUE(Submit(blocker_queue_, job).ok());
    gate_.AwaitEntered(static_cast<int>(blockers_.size()));
  }

  Turnstile gate_;
  std::unique_ptr<Scheduler> scheduler_;
  std::shared_ptr<ModelQueue> blocker_queue_;
  std::vector<std::shared_ptr<RecordedJob>> blockers_;
};

}  // namespace verdict
