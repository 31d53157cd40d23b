#include "runtime/device_worker/run_watch.h"

#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <thread>
#include <vector>

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// One that ends when it is told to.
class ToldRun : public RunWatch::Run {
 public:
  bool HasEnded() override {
    looked_at = true;
    return over;
  }
  void End() override {
    const std::scoped_lock lock(mutex_);
    watcher = std::this_thread::get_id();
    ++ends_;
    ended_.notify_all();
  }
  /// Returns: how often it has been ended, once it has, or after two seconds.
  int WaitForEnd() {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, milliseconds(2000), [this] { return ends_ > 0; });
    return ends_;
  }

  std::atomic<bool> over = false;
  std::atomic<bool> looked_at = false;
  std::thread::id watcher;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int ends_ = 0;
};

TEST(RunWatch, OneThreadEndsTheRunsOfAll) {
  RunWatch watch(8, milliseconds(1));
  auto first = std::make_shared<ToldRun>();
  std::thread watcher([&] { watch.Watch(first); });
  const std::thread::id watching = watcher.get_id();
  while (!first->looked_at) std::this_thread::yield();
  std::vector<std::shared_ptr<ToldRun>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(std::make_shared<ToldRun>());
    watch.Watch(others.back());  // returns at once
  }
  // In another order than they came in, and one at once.
  others[2]->over = true;
  EXPECT_EQ(others[2]->WaitForEnd(), 1);
  first->over = true;
  EXPECT_EQ(first->WaitForEnd(), 1);
  others[0]->over = true;
  EXPECT_EQ(others[0]->WaitForEnd(), 1);
  others[1]->over = true;
  EXPECT_EQ(others[1]->WaitForEnd(), 1);
  watcher.join();
  for (const auto& run : others) {
    EXPECT_EQ(run->watcher, watching);
    EXPECT_EQ(run->WaitForEnd(), 1) << "once";
  }
  EXPECT_EQ(first->WaitForEnd(), 1) << "once";
  EXPECT_EQ(first.use_count(), 1) << "let go of";
}

TEST(RunWatch, TheNextRunAfterAllHaveEndedIsWatchedByWhoHandsItIn) {
  RunWatch watch(8, microseconds(0));
  for (int i = 0; i < 3; ++i) {
    const auto run = std::make_shared<ToldRun>();
    run->over = true;
    watch.Watch(run);
    EXPECT_EQ(run->WaitForEnd(), 1);
    EXPECT_EQ(run->watcher, std::this_thread::get_id());
  }
}

/// One that ends some looks after its start.
class ShortRun : public RunWatch::Run {
 public:
  explicit ShortRun(int looks) : looks_(looks) {}
  bool HasEnded() override { return looks_-- == 0; }
  void End() override { ++ends; }
  std::atomic<int> ends = 0;

 private:
  int looks_;
};

TEST(RunWatch, EachRunOfManyThreadsIsEndedOnce) {
  constexpr int kThreads = 4;
  for (const auto spin : {microseconds(0), microseconds(1000)}) {
    RunWatch watch(kThreads, spin);
    std::array<std::vector<std::shared_ptr<ShortRun>>, kThreads> runs;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 1000; ++i) {
          const auto& run = runs[static_cast<size_t>(thread)].emplace_back(
              std::make_shared<ShortRun>((i * 7 + thread) % 50));
          watch.Watch(run);
          while (run->ends == 0) std::this_thread::yield();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& of_thread : runs) {
      for (const auto& run : of_thread) EXPECT_EQ(run->ends, 1);
    }
  }
}

}  // namespace
}  // namespace verdict
