#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/batching/scheduler.h"

namespace verdict {
namespace {

using Clock = Job::Clock;
using std::chrono::microseconds;

/// What happened to all jobs, and how many live.
struct Tally {
  std::atomic<int64_t> ok{0}, failed{0}, wrong{0}, alive{0};
};

/// x of one row of two, {1, ratio} times something; with a state input for a sequence, each of
/// which has a ratio of its own.
class StressJob : public Job {
 public:
  StressJob(Tally* tally, float x, float ratio = 2, bool stateful = false)
      : tally_(tally), values_{x, ratio * x}, ratio_(ratio) {
    views_.push_back({DataType::kFloat32, Shape{1, 2}, values_});
    if (stateful) views_.emplace_back();
    inputs = views_;
    ++tally_->alive;
  }
  ~StressJob() override { --tally_->alive; }

  void Finish(const Status& status, std::span<const TensorView> outputs, const Times&) override {
    if (finishes_.fetch_add(1) != 0) ++tally_->wrong;
    if (!status.ok()) {
      ++tally_->failed;
      return;
    }
    ++tally_->ok;
    const auto y = outputs[0].as<const float>();
    // A state that adds up multiples of {1, ratio} keeps it, and has it from its own sequence
    // alone; without a state the row is doubled. Sums are whole numbers below 2^24: exact.
    if (y.size() != 2 || y[1] != ratio_ * y[0]) ++tally_->wrong;
    if (sequence.empty() && y[0] != 2 * values_[0]) ++tally_->wrong;
  }
  int finishes() const { return finishes_; }

 private:
  Tally* tally_;
  float values_[2];
  float ratio_;
  std::vector<TensorView> views_;
  std::atomic<int> finishes_{0};
};

TEST(SchedulerStress, LosesAndRepeatsNothingUnderCancelsAndDeadlines) {
  constexpr int kThreads = 4, kJobs = 1'500;
  Tally tally;
  std::atomic<int64_t> accepted{0}, cancelled{0};
  std::vector<std::shared_ptr<ModelQueue>> queues;
  {
    const auto scheduler = Scheduler::Start(3).value();
    const auto engine = EngineOf(R"(graph "double" {
  input %x: f32[N,2]
  %y = Add(%x, %x)
  output %y
}
)");
    ModelConfig plain{.max_batch_size = 16};
    plain.dynamic_batching = {
        .max_queue_delay_microseconds = 200, .priority_levels = 3, .default_priority_level = 2};
    plain.dynamic_batching->default_queue_policy.max_queue_size = 200;
    ModelConfig delaying = plain;
    delaying.dynamic_batching->default_queue_policy = {
        .timeout_action = QueuePolicy::TimeoutAction::kDelay,
        .default_timeout_microseconds = 300,
        .allow_timeout_override = true};
    ModelConfig stateful{.max_batch_size = 8};
    stateful.sequence_batching = {.max_sequence_idle_microseconds = 500,
                                  .max_candidate_sequences = 12,
                                  .state = {{"state", "next"}}};
    queues = {scheduler->Add(engine, plain).value(), scheduler->Add(engine, delaying).value(),
              scheduler->Add(SummingEngine(), stateful).value()};
    std::vector<std::thread> clients;
    for (int thread = 0; thread < kThreads; ++thread) {
      clients.emplace_back([&, thread] {
        std::mt19937 random(static_cast<unsigned>(thread));
        std::vector<std::pair<size_t, std::shared_ptr<StressJob>>> recent;
        for (int i = 0; i < kJobs; ++i) {
          const size_t which = random() % queues.size();
          const bool is_stateful = which == 2;
          const auto key = random() % 16;
          const auto job = std::make_shared<StressJob>(&tally, static_cast<float>(random() % 100),
                                                       static_cast<float>(key + 2), is_stateful);
          if (is_stateful) {
            job->sequence = "key" + std::to_string(key);
            job->sequence_start = random() % 8 == 0;
            job->sequence_end = random() % 8 == 0;
          }
          job->priority = random() % 4;
          job->timeout_us = random() % 2 == 0 ? 0 : random() % 500;
          if (random() % 2 == 0) job->deadline = Clock::now() + microseconds(random() % 3'000);
          if (scheduler->Submit(queues[which], job).ok()) {
            ++accepted;
            recent.emplace_back(which, job);
          } else {
            EXPECT_EQ(job->finishes(), 0);
          }
          if (recent.size() > 4) {
            const size_t victim = random() % recent.size();
            auto& [queue, other] = recent[victim];
            if (scheduler->Cancel(*queues[queue], *other)) {
              ++cancelled;
              EXPECT_EQ(other->finishes(), 0);
            }
            recent.erase(recent.begin() + static_cast<int64_t>(victim));
          }
          if (random() % 64 == 0) std::this_thread::sleep_for(microseconds(random() % 2'000));
        }
      });
    }
    for (std::thread& client : clients) client.join();
  }
  EXPECT_EQ(tally.ok + tally.failed + cancelled, accepted);
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_EQ(tally.alive, 0);
  EXPECT_GT(tally.ok, 0);
  EXPECT_GT(cancelled, 0);
  for (const auto& queue : queues) EXPECT_EQ(queue->pending(), 0U);
  EXPECT_LE(queues[2]->sequences().held, 12U);
}

TEST(SchedulerStress, AddsAndDropsModelsWhileOthersRun) {
  Tally tally;
  const auto engine = EngineOf(R"(graph "double" {
  input %x: f32[N,2]
  %y = Add(%x, %x)
  output %y
}
)");
  std::atomic<bool> stop{false};
  std::atomic<int64_t> accepted{0};
  {
    const auto scheduler = Scheduler::Start(2).value();
    const auto lasting = scheduler->Add(engine, {.max_batch_size = 8}).value();
    std::thread client([&] {
      while (!stop) {
        if (scheduler->Submit(lasting, std::make_shared<StressJob>(&tally, 1.0F)).ok()) {
          ++accepted;
        } else {
          std::this_thread::yield();
        }
      }
    });
    for (int i = 0; i < 10; ++i) {
      // Of other sizes: the shared memory moves under the running sessions.
      const auto queue = scheduler->Add(engine, {.max_batch_size = 8 + 12 * (i % 10)}).value();
      for (int k = 0; k < 20; ++k) {
        if (scheduler->Submit(queue, std::make_shared<StressJob>(&tally, 2.0F)).ok()) {
          ++accepted;
        }
      }
    }
    stop = true;
    client.join();
  }
  EXPECT_EQ(tally.ok + tally.failed, accepted);
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_EQ(tally.alive, 0);
}

}  // namespace
}  // namespace verdict
