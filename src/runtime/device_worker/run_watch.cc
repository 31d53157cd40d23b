#include "runtime/device_worker/run_watch.h"

#include <thread>
#include <utility>

#include "runtime/device_worker/futex.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLooksPerClock = 64;
constexpr auto kSleep = std::chrono::microseconds(20);

}  // namespace

RunWatch::RunWatch(size_t most_runs) {
  runs_.reserve(most_runs);
  started_.reserve(most_runs);
}

void RunWatch::Watch(std::shared_ptr<Run> run, std::chrono::microseconds spin) {
  {
    const std::scoped_lock lock(mutex_);
    started_.push_back(std::move(run));
    any_started_.store(true, std::memory_order_relaxed);
    if (std::exchange(watched_, true)) return;
  }
  Clock::time_point changed;
  bool news = true;
  for (int looks = 1; TakeStarted(); ++looks) {
    if (EndRuns() || any_started_.load(std::memory_order_relaxed)) news = true;
    SpinPause();
    if (looks % kLooksPerClock != 0) continue;
    const Clock::time_point now = Clock::now();
    if (std::exchange(news, false)) changed = now;
    if (now - changed > spin) {
      std::this_thread::sleep_for(kSleep);
    } else {
      SpinYield();
    }
  }
}

bool RunWatch::TakeStarted() {
  if (!runs_.empty() && !any_started_.load(std::memory_order_relaxed)) return true;
  const std::scoped_lock lock(mutex_);
  any_started_.store(false, std::memory_order_relaxed);
  for (std::shared_ptr<Run>& run : started_) runs_.push_back(std::move(run));
  started_.clear();
  watched_ = !runs_.empty();
  return watched_;
}

bool RunWatch::EndRuns() {
  const auto ended = std::erase_if(runs_, [](const std::shared_ptr<Run>& run) {
    if (!run->HasEnded()) return false;
    run->End();
    return true;
  });
  return ended > 0;
}

}  // namespace verdict
