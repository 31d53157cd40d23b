#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace verdict {

/// Runs that have been started on a device and not ended yet. Of the threads that hand them in one
/// stays and looks for the ends of all: however many runs there are, they keep one core busy, and
/// the other threads are free to start the next ones.
class RunWatch {
 public:
  class Run {
   public:
    virtual ~Run() = default;
    /// Only looks.
    virtual bool HasEnded() = 0;
    /// Called once, after HasEnded was true, by the same thread.
    virtual void End() = 0;
  };

  /// most_runs: that are handed in at a time; no memory is taken for them later. spin: for how long
  /// after a run was handed in or has ended it looks without sleeping.
  RunWatch(size_t most_runs, std::chrono::microseconds spin);

  /// Returns at once where another thread watches; else once every run has ended. Threads: any.
  void Watch(std::shared_ptr<Run> run);

 private:
  /// Returns: false if there are no runs; then nobody watches any more.
  bool TakeNew();
  void EndRuns();

  const std::chrono::microseconds spin_;
  // Of the thread that watches:
  std::vector<std::shared_ptr<Run>> runs_;
  bool changed_ = false;  // since it was last asked
  std::atomic<bool> any_new_ = false;
  std::mutex mutex_;  // guards what follows
  std::vector<std::shared_ptr<Run>> new_;
  bool watched_ = false;
};

}  // namespace verdict
