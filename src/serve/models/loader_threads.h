#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"

namespace verdict {

/// Threads on which models are loaded and warmed up. They run at the lowest ordinary priority: with
/// requests under way they get what those leave.
class LoaderThreads {
 public:
  LoaderThreads() = default;
  ~LoaderThreads();
  LoaderThreads(const LoaderThreads&) = delete;
  LoaderThreads& operator=(const LoaderThreads&) = delete;

  /// count: > 0. Errors: kResourceExhausted.
  Status Start(int count);
  /// Runs `task`, in the order of calls. Threads: any.
  void Submit(std::function<void()> task);
  /// Drops what has not begun. Does not wait. Threads: any.
  void BeginStop();
  /// The same, and waits for what has begun. Threads: one.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;  // guards tasks_ and stop_
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace verdict
