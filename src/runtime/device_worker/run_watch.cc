#include "runtime/device_worker/run_watch.h"

#include <thread>
#include <utility>

#include "runtime/device_worker/futex.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSleep = std::chrono::microseconds(20);

}  // namespace

RunWatch::RunWatch(size_t most_runs, std::chrono::microseconds spin) : spin_(spin) {
  runs_.reserve(most_runs);
  new_.reserve(most_runs);
}

void RunWatch::Watch(std::shared_ptr<Run> run) {
  {
    const std::scoped_lock lock(mutex_);
    new_.push_back(std::move(run));
    any_new_.store(true, std::memory_order_relaxed);
    if (std::exchange(watched_, true)) return;
  }
  Clock::time_point changed;
  for (uint32_t looks = 1; TakeNew(); ++looks) {
    EndRuns();
    SpinPause();
    if (looks % kLooksPerClock != 0) continue;
    const Clock::time_point now = Clock::now();
    if (std::exchange(changed_, false)) changed = now;
    if (now - changed > spin_) {
      std::this_thread::sleep_for(kSleep);
    } else {
      SpinYield();
    }
  }
}

bool RunWatch::TakeNew() {
  if (!runs_.empty() && !any_new_.load(std::memory_order_relaxed)) return true;
  const std::scoped_lock lock(mutex_);
  any_new_.store(false, std::memory_order_relaxed);
  changed_ = changed_ || !new_.empty();
  for (std::shared_ptr<Run>& run : new_) runs_.push_back(std::move(run));
  new_.clear();
  watched_ = !runs_.empty();
  return watched_;
}

void RunWatch::EndRuns() {
  const auto ended = std::erase_if(runs_, [](const std::shared_ptr<Run>& run) {
    if (!run->HasEnded()) return false;
    run->End();
    return true;
  });
  changed_ = changed_ || ended > 0;
}

}  // namespace verdict
