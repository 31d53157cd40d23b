#include "serve/batching/scheduler.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace verdict {
namespace {

using Clock = Job::Clock;
using std::chrono::nanoseconds;
constexpr Clock::time_point kNever = Clock::time_point::max();

using Jobs = std::vector<std::shared_ptr<Job>>;

/// Stands for a request of which only the deadline is known.
class ForeseenJob final : public Job {
 public:
  void Finish(const Status&, std::span<const TensorView>, const Times&) override {}
};

}  // namespace

/// What the threads share. Everything is guarded by `mutex` except what a compute thread does with
/// its own run.
struct Scheduler::Core {
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
  void Execute(size_t index, ModelQueue& queue, std::vector<BatchRun::Part>* parts,
               std::unique_lock<std::mutex>& lock);
  nanoseconds UntilFree(const ModelQueue& queue, Clock::time_point now) const;
  bool NeedsWorker(ModelQueue& queue, Clock::time_point now);
  void WatchFor(Clock::time_point expiry);
  std::vector<std::shared_ptr<ModelQueue>> TakeRetired();
  /// thread: Job::Times::thread.
  static void FinishAll(const Jobs& jobs, const Status& status, size_t thread);

  std::mutex mutex;
  std::condition_variable work_ready, expiry_changed;
  bool stopping = false;
  int idle = 0;                             // compute threads that wait for work
  Clock::time_point armed_work = kNever;    // a compute thread looks again then
  Clock::time_point armed_expiry = kNever;  // the watching thread does
  std::vector<std::shared_ptr<ModelQueue>> queues;
  std::vector<Worker> workers;
  std::thread watcher;
};

void Scheduler::Core::FinishAll(const Jobs& jobs, const Status& status, size_t thread) {
  for (const std::shared_ptr<Job>& job : jobs) {
    job->times_.thread = static_cast<int>(thread);
    job->Finish(status, {}, job->times_);
  }
}

/// The model whose batch is to run now, or null; then *wake is when to look again. *doomed gets
/// what is too late, already taken out.
std::shared_ptr<ModelQueue> Scheduler::Core::Choose(Clock::time_point now, Jobs* doomed,
                                                    Clock::time_point* wake) {
  const std::shared_ptr<ModelQueue>* best = nullptr;
  std::tuple<size_t, Clock::time_point, Clock::time_point> best_rank;
  *wake = kNever;
  for (const std::shared_ptr<ModelQueue>& queue : queues) {
    if (!queue->CanStart()) continue;
    const BatchDecision& decision = queue->Decide(now);
    for (const size_t index : decision.doomed) {
      doomed->push_back(queue->Remove(*queue->candidate_jobs_[index], now));
      queue->cannot_meet_.Add(1);
      ++queue->refused_;
    }
    if (!decision.run) {
      *wake = std::min(*wake, decision.wake);
      continue;
    }
    const Job& head = *queue->candidate_jobs_[decision.taken.front()];
    const bool patient = now - head.times_.queued < kPatience;
    const std::tuple rank(patient ? head.level_ : 0, head.due_, head.times_.queued);
    if (best == nullptr || rank < best_rank) {
      best = &queue;
      best_rank = rank;
    }
  }
  return best == nullptr ? nullptr : *best;
}

/// Runs a batch that was taken out, and answers its jobs. The lock is held on entry and exit only.
void Scheduler::Core::Execute(size_t index, ModelQueue& queue, std::vector<BatchRun::Part>* parts,
                              std::unique_lock<std::mutex>& lock) {
  int64_t rows = 0;
  for (const BatchRun::Part& part : *parts) rows += part.job->rows;
  BatchRun& run = *queue.runs_[index];
  workers[index].running = &queue;
  lock.unlock();

  const Clock::time_point started = Clock::now();
  Status status = run.Run(*parts);
  const Clock::time_point computed = Clock::now();
  for (const BatchRun::Part& part : *parts) part.job->times_.thread = static_cast<int>(index);
  if (parts->size() == 1) {
    Job& job = *parts->front().job;
    job.times_.computed = computed;
    job.Finish(status, run.Outputs(), job.times_);
  } else {
    int64_t row = 0;
    for (const BatchRun::Part& part : *parts) {
      Job& job = *part.job;
      job.times_.computed = computed;
      if (status.ok()) {
        job.Finish(status, run.Outputs(row, job.rows), job.times_);
        row += job.rows;
        continue;
      }
      // One of them has what the model refuses: the others are not to suffer from it.
      if (job.deadline <= Clock::now()) {
        job.Finish(DeadlineExceeded("the deadline passed before a run of its own"), {}, job.times_);
        continue;
      }
      const Status own = run.Run(std::span(&part, 1));
      job.times_.computed = Clock::now();
      job.Finish(own, run.Outputs(), job.times_);
    }
  }
  if (status.ok()) queue.cost_->Observe(rows, computed - started);
  for (BatchRun::Part& part : *parts) part.job.reset();

  lock.lock();
  workers[index].running = nullptr;
  queue.End(*parts, rows, computed - started, Clock::now());
}

/// A compute thread.
void Scheduler::Core::Work(size_t index) {
  std::vector<BatchRun::Part> parts;
  Jobs doomed;
  std::unique_lock lock(mutex);
  while (!stopping) {
    const Clock::time_point now = Clock::now();
    Clock::time_point wake;
    std::shared_ptr<ModelQueue> queue = Choose(now, &doomed, &wake);
    if (!doomed.empty()) {
      lock.unlock();
      FinishAll(doomed, DeadlineExceeded("a run would end after the deadline"), index);
      doomed.clear();
      queue.reset();
      lock.lock();
      continue;
    }
    if (queue != nullptr) {
      workers[index].expected_end = now + queue->cost_->Estimate(queue->decision_.rows);
      queue->Begin(now, &parts);
      const auto can_start = [](const auto& other) { return other->CanStart(); };
      if (idle > 0 && std::ranges::any_of(queues, can_start)) work_ready.notify_one();
      Execute(index, *queue, &parts, lock);
      WatchFor(queue->NextExpiry());
      const bool retired = queue->retired_.load(std::memory_order_relaxed);
      if (retired) {
        auto gone = TakeRetired();
        lock.unlock();
        queue.reset();
        gone.clear();
        lock.lock();
      }
      continue;
    }
    ++idle;
    if (wake < armed_work) {
      armed_work = wake;
      work_ready.wait_until(lock, wake);
      if (armed_work == wake) armed_work = kNever;
    } else {
      work_ready.wait(lock);
    }
    --idle;
  }
}

/// The thread that rejects what expires, however long the compute threads are busy, and in the end
/// all that waits.
void Scheduler::Core::Watch() {
  Jobs expired;
  std::unique_lock lock(mutex);
  while (!stopping) {
    const Clock::time_point now = Clock::now();
    armed_expiry = kNever;
    bool became_ready = false;
    for (const std::shared_ptr<ModelQueue>& queue : queues) {
      while (std::shared_ptr<Job> job = queue->TakeExpired(now)) expired.push_back(std::move(job));
      armed_expiry = std::min(armed_expiry, queue->NextExpiry());
    }
    if (!expired.empty()) {
      // The next one of a sequence may have got its turn.
      for (const std::shared_ptr<ModelQueue>& queue : queues) {
        became_ready |= idle > 0 && queue->CanStart();
      }
      auto gone = TakeRetired();
      lock.unlock();
      if (became_ready) work_ready.notify_one();
      FinishAll(expired, DeadlineExceeded("the time to wait in the queue was over"),
                workers.size());
      expired.clear();
      gone.clear();
      lock.lock();
      continue;
    }
    if (armed_expiry == kNever) {
      expiry_changed.wait(lock);
    } else {
      expiry_changed.wait_until(lock, armed_expiry);
    }
  }
  Jobs waiting;
  const Clock::time_point now = Clock::now();
  for (const std::shared_ptr<ModelQueue>& queue : queues) {
    while (queue->queue_.size() > 0) waiting.push_back(queue->Remove(queue->queue_.front(), now));
  }
  lock.unlock();
  FinishAll(waiting, Unavailable("the server is stopping"), workers.size());
}

/// Sees to it that the watching thread looks then, or earlier.
void Scheduler::Core::WatchFor(Clock::time_point expiry) {
  if (expiry >= armed_expiry) return;
  armed_expiry = expiry;
  expiry_changed.notify_one();
}

/// How long until a compute thread could begin a run of the model, by the estimates.
nanoseconds Scheduler::Core::UntilFree(const ModelQueue& queue, Clock::time_point now) const {
  const bool at_limit = queue.running_ >= queue.limit_;
  if (idle > 0 && !at_limit) return nanoseconds(0);
  nanoseconds least = nanoseconds::max();
  for (const Worker& worker : workers) {
    if (at_limit && worker.running != &queue) continue;
    if (worker.running == nullptr) return nanoseconds(0);
    least = std::min<nanoseconds>(least, worker.expected_end - now);
  }
  return std::max(least, nanoseconds(0));
}

/// True if a waiting compute thread has something to do for the model, or has to look earlier.
bool Scheduler::Core::NeedsWorker(ModelQueue& queue, Clock::time_point now) {
  if (idle == 0 || !queue.CanStart()) return false;
  const BatchDecision& decision = queue.Decide(now);
  return decision.run || !decision.doomed.empty() || decision.wake < armed_work;
}

/// Takes out the models that nobody holds and that have nothing left to do.
std::vector<std::shared_ptr<ModelQueue>> Scheduler::Core::TakeRetired() {
  std::vector<std::shared_ptr<ModelQueue>> gone;
  std::erase_if(queues, [&](std::shared_ptr<ModelQueue>& queue) {
    const bool done = queue->retired_.load(std::memory_order_relaxed) &&
                      queue->queue_.size() == 0 && queue->running_ == 0;
    if (done) gone.push_back(std::move(queue));
    return done;
  });
  return gone;
}

Scheduler::Scheduler(int threads) : core_(std::make_shared<Core>(threads)) {}

Result<std::unique_ptr<Scheduler>> Scheduler::Start(int threads) {
  VERDICT_CHECK(threads > 0);
  std::unique_ptr<Scheduler> scheduler(new Scheduler(threads));
  Core& core = *scheduler->core_;
  try {
    for (size_t i = 0; i < core.workers.size(); ++i) {
      core.workers[i].thread = std::thread([&core, i] { core.Work(i); });
    }
    core.watcher = std::thread([&core] { core.Watch(); });
  } catch (const std::system_error&) {
    return ResourceExhausted("cannot start " + std::to_string(threads + 1) +
                             " threads that run models; lower compute.threads or raise the "
                             "process limit");
  }
  return scheduler;
}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopping = true;
  }
  core_->work_ready.notify_all();
  core_->expiry_changed.notify_all();
  for (Core::Worker& worker : core_->workers) {
    if (worker.thread.joinable()) worker.thread.join();
  }
  if (core_->watcher.joinable()) core_->watcher.join();
}

Result<std::shared_ptr<ModelQueue>> Scheduler::Add(std::shared_ptr<const Engine> engine,
                                                   const ModelConfig& config) {
  std::vector<ModelQueue::Arenas> arenas;
  for (const Core::Worker& worker : core_->workers) arenas.push_back(worker.arenas);
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<ModelQueue> queue,
                           ModelQueue::Create(std::move(engine), config, arenas));
  {
    const std::lock_guard lock(core_->mutex);
    core_->queues.push_back(queue);
  }
  // The scheduler's own hold does not keep the model: the handle's end retires it.
  ModelQueue* raw = queue.get();
  return std::shared_ptr<ModelQueue>(
      raw, [queue = std::move(queue), weak = std::weak_ptr(core_)](ModelQueue*) mutable {
        queue->retired_.store(true, std::memory_order_relaxed);
        std::vector<std::shared_ptr<ModelQueue>> gone;
        if (const std::shared_ptr<Core> core = weak.lock()) {
          const std::lock_guard lock(core->mutex);
          gone = core->TakeRetired();
        }
        queue.reset();
      });
}

Status Scheduler::Submit(const std::shared_ptr<ModelQueue>& queue,
                         const std::shared_ptr<Job>& job) {
  VERDICT_RETURN_IF_ERROR(queue->CheckJob(*job));
  bool notify = false;
  {
    const std::lock_guard lock(core_->mutex);
    if (core_->stopping) return Unavailable("the server is stopping");
    const Clock::time_point now = Clock::now();
    const nanoseconds until_free = core_->UntilFree(*queue, now);
    VERDICT_RETURN_IF_ERROR(queue->Enter(job, now, until_free));
    notify = core_->NeedsWorker(*queue, now);
    core_->WatchFor(queue->queue_.next_expiry());
  }
  if (notify) core_->work_ready.notify_one();
  return OkStatus();
}

Status Scheduler::Foresee(ModelQueue& queue, Clock::time_point deadline) {
  ForeseenJob job;
  job.deadline = deadline;
  job.priority = 1;
  const std::lock_guard lock(core_->mutex);
  const Clock::time_point now = Clock::now();
  return queue.CheckTime(job, now, core_->UntilFree(queue, now));
}

bool Scheduler::Cancel(ModelQueue& queue, Job& job) {
  bool notify = false;
  std::shared_ptr<Job> taken;  // let go of without the lock
  {
    const std::lock_guard lock(core_->mutex);
    if (job.place_ == Job::Place::kNone) return false;
    const Clock::time_point now = Clock::now();
    taken = queue.Remove(job, now);
    queue.cancelled_.Add(1);
    // The next one of its sequence may have got its turn.
    notify = core_->NeedsWorker(queue, now);
  }
  if (notify) core_->work_ready.notify_one();
  return true;
}

}  // namespace verdict
