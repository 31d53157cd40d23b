#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "serve/batching/scheduler.h"

namespace verdict {

/// Jobs that run together, taken out of their queue.
struct Batch {
  std::shared_ptr<ModelQueue> queue;
  std::vector<BatchRun::Part> parts;
  size_t runnable = 0;  // of the parts: the first ones
  int64_t rows = 0;     // of them; negative if there are none
  Job::Clock::time_point started;
  DeviceRun device_run;    // that a thread has left
  bool can_go_on = false;  // it has ended
};

/// What the threads share. Everything is guarded by `mutex` except what a compute thread does with
/// its own run.
struct Scheduler::Core {
  using Clock = Job::Clock;
  using Jobs = std::vector<std::shared_ptr<Job>>;
  using Lock = std::unique_lock<std::mutex>;
  using nanoseconds = std::chrono::nanoseconds;
  static constexpr Clock::time_point kNever = Clock::time_point::max();
  /// Between two looks at runs that go on on a device without a thread.
  static constexpr std::chrono::milliseconds kLookAtLate{1};

  struct Worker {
    ModelQueue::Arenas arenas{std::make_shared<Arena>(), std::make_shared<Arena>()};
    std::thread thread;
    ModelQueue* running = nullptr;
    Clock::time_point expected_end;
  };

  explicit Core(int threads) : workers(static_cast<size_t>(threads)) {}

  void Work(size_t index);
  void Watch();
  std::shared_ptr<ModelQueue> Choose(Clock::time_point now, Jobs* doomed, Clock::time_point* wake);
  nanoseconds UntilFree(const ModelQueue& queue, Clock::time_point now) const;
  nanoseconds WorkOfOthers(const ModelQueue& queue, const Job& job, Clock::time_point now) const;
  bool NeedsWorker(ModelQueue& queue, Clock::time_point now);
  void WatchFor(Clock::time_point expiry);
  std::vector<std::shared_ptr<ModelQueue>> TakeRetired();
  /// thread: Job::Times::thread.
  static void FinishAll(std::span<const std::shared_ptr<Job>> jobs, const Status& status,
                        size_t thread);

  // batch_execution.cc
  /// Runs a batch that was taken out, or goes on with one that was late, and answers its jobs; or
  /// leaves it to the device, and batch->queue is null. The lock is held on entry and exit only.
  void Execute(size_t index, Batch* batch, Lock& lock);
  void AddLate(std::list<Batch>* one);
  /// One that has ended; false: none has.
  bool TakeLate(Batch* batch);
  /// Finds out which have ended. Returns: true if others have not.
  bool LookAtLate();
  static void PutStatelessLast(Batch* batch);
  static void Answer(BatchRun& run, const Batch& batch, const Status& status);
  bool Leave(size_t index, Batch* batch, Lock& lock);

  std::mutex mutex;
  std::condition_variable work_ready, expiry_changed;
  bool stopping = false;
  std::atomic<int> idle{0};                 // compute threads that wait for work; read by anyone
  Clock::time_point armed_work = kNever;    // a compute thread looks again then
  Clock::time_point armed_expiry = kNever;  // the watching thread does
  std::vector<std::shared_ptr<ModelQueue>> queues;
  std::list<Batch> late;  // whose runs go on on a device without a thread
  std::vector<Worker> workers;
  std::thread watcher;
};

}  // namespace verdict
