#include "serve/models/loader_threads.h"

#include <sys/resource.h>

#include <system_error>
#include <utility>

namespace verdict {
namespace {

constexpr int kLowestPriority = 19;

}  // namespace

LoaderThreads::~LoaderThreads() { Stop(); }

void LoaderThreads::Stop() {
  BeginStop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Status LoaderThreads::Start(int count) {
  try {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Run(); });
  } catch (const std::system_error&) {
    return ResourceExhausted(
        "cannot start the thread that loads models; lower --io-threads or raise the process limit");
  }
  return OkStatus();
}

void LoaderThreads::Submit(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    if (stop_) return;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void LoaderThreads::BeginStop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    dropped.swap(tasks_);
  }
  wake_.notify_all();
}

void LoaderThreads::Run() {
  // Of this thread alone, on Linux.
  ::setpriority(PRIO_PROCESS, 0, kLowestPriority);
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
    if (stop_) return;
    {
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    lock.lock();
  }
}

}  // namespace verdict
