#include "serve/endpoints/inference.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "serve/batching/scheduler_fixture_test.h"
#include "serve/endpoints/service.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

ModelConfig Batched() {
  ModelConfig config{.max_batch_size = 8};
  config.dynamic_batching.emplace();
  return config;
}

class RunsHereTest : public SchedulerTest {
 protected:
  RunsHereTest() { service_.SetScheduler(scheduler_.get()); }
  std::shared_ptr<const LoadedModel> Load(const ModelConfig& config) {
    ModelHost host;
    host.metrics = &service_.metrics();
    host.scheduler = scheduler_.get();
    auto model = LoadedModel::FromEngine("m", 1, DoublingEngine(), config, host).value();
    Settle(*model);
    return model;
  }
  void Settle(const LoadedModel& model) {
    while (!model.queue()->quiet() || !scheduler_->has_idle_thread()) std::this_thread::yield();
  }
  /// Of a request that this thread gets after a while without any.
  bool AfterAWhile(const LoadedModel& model, int64_t rows = 1) {
    for (int i = 0; i < kAloneInARow; ++i) EndOfInference(Clock::now() + kBusyWithin);
    return static_cast<bool>(AlsoHere(model, rows));
  }
  /// Of one that another thread may have at the same time.
  HereRun AlsoHere(const LoadedModel& model, int64_t rows = 1) {
    return RunsHere(service_, model, rows, Clock::now() + kBusyWithin);
  }

  Service service_{1, 1};
};

TEST_F(RunsHereTest, ALoneRequestOfABatchedModel) {
  const auto model = Load(Batched());
  EXPECT_TRUE(AfterAWhile(*model));
  EXPECT_TRUE(AfterAWhile(*model, 8));
  EXPECT_FALSE(AfterAWhile(*model, 9)) << "the queue refuses it in its words";
}

TEST_F(RunsHereTest, ALoneOneMayTakeLonger) {
  const auto batched = Load(Batched());
  const auto single = Load({});
  const auto takes = [&](std::chrono::microseconds time) {
    for (int i = 0; i < 500; ++i) {
      for (const auto& model : {batched, single}) {
        model->queue()->Observe(1, time, DeviceOutcome::kNotThere);
      }
    }
  };
  takes((kRunHereAtMost + kRunAloneAtMost) / 2);
  EXPECT_TRUE(AfterAWhile(*batched));
  EXPECT_FALSE(AfterAWhile(*single)) << "others may come at any time";
  takes(2 * kRunAloneAtMost);
  EXPECT_FALSE(AfterAWhile(*batched));
}

TEST_F(RunsHereTest, NotWhereAThreadHasMoreToDo) {
  const auto batched = Load(Batched());
  const auto single = Load({});
  EXPECT_TRUE(AfterAWhile(*batched));
  constexpr Clock::time_point kBefore;  // it was there while the thread was busy
  EXPECT_FALSE(RunsHere(service_, *batched, 1, kBefore));
  EXPECT_TRUE(RunsHere(service_, *single, 1, kBefore)) << "nothing to combine";
  EndOfInference(kBefore);
  for (int i = 1; i < kAloneInARow; ++i) {
    const auto begin = Clock::now() + kBusyWithin;
    EXPECT_FALSE(RunsHere(service_, *batched, 1, begin)) << "the first of some that come together?";
    EndOfInference(begin);
  }
  EXPECT_TRUE(RunsHere(service_, *batched, 1, Clock::now() + kBusyWithin));
}

TEST_F(RunsHereTest, NotWhileOthersWaitOrRun) {
  const auto model = Load(Batched());
  Turnstile turnstile;
  const auto running = Row(1);
  running->before_finish = [&] { turnstile.Enter(); };
  ASSERT_TRUE(Submit(model->queue(), running).ok());
  turnstile.AwaitEntered();
  EXPECT_FALSE(AfterAWhile(*model)) << "one runs";
  const auto waiting = Row(2);
  ASSERT_TRUE(Submit(model->queue(), waiting).ok());
  EXPECT_FALSE(AfterAWhile(*model)) << "and one waits";
  turnstile.Open();
  ASSERT_TRUE(running->Wait().ok());
  ASSERT_TRUE(waiting->Wait().ok());
  Settle(*model);
  EXPECT_TRUE(AfterAWhile(*model));

  Block();
  EXPECT_FALSE(AfterAWhile(*model)) << "the only compute thread has another model's run";
}

TEST_F(RunsHereTest, NotWhileAnotherThreadRunsOne) {
  const auto model = Load(Batched());
  const auto single = Load({});
  ASSERT_TRUE(AfterAWhile(*model));
  {
    const HereRun here = AlsoHere(*model);
    ASSERT_TRUE(here);
    EXPECT_FALSE(AlsoHere(*model)) << "they are to form a batch";
    const HereRun other = AlsoHere(*single);
    EXPECT_TRUE(other) << "another model";
    EXPECT_TRUE(AlsoHere(*single)) << "nothing to combine, and nothing to wait for";
  }
  EXPECT_TRUE(AlsoHere(*model)) << "it has ended";

  // However many threads ask, one at a time has it.
  std::atomic<int> running = 0, most = 0, had = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 5000; ++k) {
          EndOfInference(Clock::now() + kBusyWithin);
          const HereRun here = AlsoHere(*model);
          if (!here) continue;
          const int now = ++running;
          if (now > most) most = now;
          ++had;
          --running;
        }
      });
    }
  }
  EXPECT_EQ(most, 1);
  EXPECT_GT(had, 0);
}

TEST_F(RunsHereTest, NotWhereTheConfigurationSaysHowToQueue) {
  ModelConfig config = Batched();
  config.dynamic_batching->preserve_ordering = true;
  EXPECT_FALSE(AfterAWhile(*Load(config)));
  config = Batched();
  config.dynamic_batching->max_queue_delay_microseconds = 100;
  EXPECT_FALSE(AfterAWhile(*Load(config))) << "a batch waits for others";
  config = Batched();
  config.instance_count = 1;
  EXPECT_FALSE(AfterAWhile(*Load(config))) << "one run at a time";
}

}  // namespace
}  // namespace verdict
