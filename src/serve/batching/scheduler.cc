#include "serve/batching/scheduler.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <new>
#include <span>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "serve/batching/scheduler_core.h"

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

const char* const kTimedOut = "the time to wait in the queue was over";

/// Until a thread that found no memory looks again.
constexpr auto kWithoutMemory = std::chrono::milliseconds(5);

/// Room for one more; false: there is no memory for it.
bool MakeRoom(Jobs* jobs) {
  if (jobs->size() < jobs->capacity()) return true;
  try {
    jobs->reserve(std::max<size_t>(2 * jobs->size(), 16));
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace

void Scheduler::Core::FinishAll(std::span<const std::shared_ptr<Job>> jobs, const Status& status,
                                size_t thread) {
  for (const std::shared_ptr<Job>& job : jobs) {
    job->times_.thread = static_cast<int>(thread);
    job->Finish(status, {}, job->times_);
  }
}

/// The model whose batch is to run now, or null; then *wake is when to look again. *doomed gets
/// what is too late, already taken out. Throws std::bad_alloc; *doomed then has what was taken out
/// so far.
std::shared_ptr<ModelQueue> Scheduler::Core::Choose(Clock::time_point now, Jobs* doomed,
                                                    Clock::time_point* wake) {
  const std::shared_ptr<ModelQueue>* best = nullptr;
  std::tuple<size_t, Clock::time_point, Clock::time_point> best_rank;
  *wake = kNever;
  for (const std::shared_ptr<ModelQueue>& queue : queues) {
    if (!queue->CanStart()) continue;
    const BatchDecision& decision = queue->Decide(now);
    doomed->reserve(doomed->size() + decision.doomed.size());  // nothing that is taken out is lost
    for (const size_t index : decision.doomed) {
      doomed->push_back(queue->RemoveDoomed(*queue->candidate_jobs_[index], now));
    }
    if (!decision.doomed.empty()) WatchFor(queue->NextExpiry());  // of a sequence now idle
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

/// A compute thread.
void Scheduler::Core::Work(size_t index) {
  Batch batch;
  Jobs doomed;
  std::unique_lock lock(mutex);
  const auto execute = [&] {
    Execute(index, &batch, lock);
    std::shared_ptr<ModelQueue> queue = std::move(batch.queue);
    if (queue == nullptr) return;  // it goes on on the device
    WatchFor(queue->NextExpiry());
    if (!queue->retired_.load(std::memory_order_relaxed)) return;
    auto gone = TakeRetired();
    lock.unlock();
    queue.reset();
    gone.clear();
    lock.lock();
  };
  while (!stopping || !late.empty()) {
    if (TakeLate(&batch)) {
      if (stopping) work_ready.notify_all();  // it may have been what others wait for
      execute();
      continue;
    }
    if (stopping) {
      work_ready.wait(lock);
      continue;
    }
    const Clock::time_point now = Clock::now();
    Clock::time_point wake;
    std::shared_ptr<ModelQueue> queue;
    try {
      queue = Choose(now, &doomed, &wake);
    } catch (const std::bad_alloc&) {  // what waits goes on waiting
      wake = now + kWithoutMemory;
    }
    if (!doomed.empty()) {
      lock.unlock();
      const auto timed_out = std::ranges::partition(
          doomed, [&](const auto& job) { return !ModelQueue::TimedOut(*job, now); });
      FinishAll({doomed.begin(), timed_out.begin()},
                DeadlineExceeded("a run would end after the deadline"), index);
      FinishAll(timed_out, DeadlineExceeded(kTimedOut), index);
      doomed.clear();
      queue.reset();
      lock.lock();
      continue;
    }
    if (queue != nullptr) {
      workers[index].expected_end = now + queue->cost().Estimate(queue->decision_.rows);
      try {
        queue->Begin(now, &batch.parts);
      } catch (const std::bad_alloc&) {  // before it has taken anything out
        work_ready.wait_until(lock, now + kWithoutMemory);
        continue;
      }
      const auto can_start = [](const auto& other) { return other->CanStart(); };
      if (idle > 0 && std::ranges::any_of(queues, can_start)) work_ready.notify_one();
      batch.queue = std::move(queue);
      execute();
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
      while (MakeRoom(&expired)) {
        std::shared_ptr<Job> job = queue->TakeExpired(now);
        if (job == nullptr) break;
        expired.push_back(std::move(job));
      }
      armed_expiry = std::min(armed_expiry, queue->NextExpiry());
    }
    // Before what expires is finished: under a load of which something always does, too.
    if (LookAtLate()) armed_expiry = std::min(armed_expiry, now + kLookAtLate);
    if (!expired.empty()) {
      // The next one of a sequence may have got its turn.
      for (const std::shared_ptr<ModelQueue>& queue : queues) {
        became_ready |= idle > 0 && queue->CanStart();
      }
      auto gone = TakeRetired();
      lock.unlock();
      if (became_ready) work_ready.notify_one();
      FinishAll(expired, DeadlineExceeded(kTimedOut), workers.size());
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
  lock.lock();
  while (!late.empty()) {
    LookAtLate();
    expiry_changed.wait_for(lock, kLookAtLate);
  }
  work_ready.notify_all();
}

/// Sees to it that the watching thread looks then, or earlier.
void Scheduler::Core::WatchFor(Clock::time_point expiry) {
  if (expiry >= armed_expiry) return;
  armed_expiry = expiry;
  expiry_changed.notify_one();
}

/// How long until a compute thread could begin a run of the model, by the estimates.
nanoseconds Scheduler::Core::UntilFree(const ModelQueue& queue, Clock::time_point now) const {
  const bool at_limit = queue.at_limit();
  if (idle > 0 && !at_limit) return nanoseconds(0);
  nanoseconds least = nanoseconds::max();
  for (const Worker& worker : workers) {
    if (at_limit && worker.running != &queue) continue;
    if (worker.running == nullptr) return nanoseconds(0);
    least = std::min<nanoseconds>(least, worker.expected_end - now);
  }
  // Only runs without a thread keep it from its own: nobody knows how long.
  if (least == nanoseconds::max()) return nanoseconds(0);
  return std::max(least, nanoseconds(0));
}

/// How long what other models have waiting, and goes before the job, keeps the compute threads from
/// it, by the estimates. What they get only because they have waited for kPatience is not counted.
nanoseconds Scheduler::Core::WorkOfOthers(const ModelQueue& queue, const Job& job,
                                          Clock::time_point now) const {
  if (idle > 0 || queues.size() < 2) return nanoseconds(0);
  const size_t level = queue.queue_.LevelOf(job);
  const Clock::time_point due = queue.queue_.DueOf(job, now);
  nanoseconds work(0);
  size_t threads = 0;  // that they keep busy
  for (const std::shared_ptr<ModelQueue>& other : queues) {
    if (other.get() == &queue) continue;
    const nanoseconds ahead = other->WorkAhead(level, due, job.deadline - now, now);
    if (ahead.count() == 0) continue;
    work += ahead;
    threads += static_cast<size_t>(other->limit());
  }
  return threads < workers.size() ? nanoseconds(0) : work / static_cast<int64_t>(workers.size());
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
                                                   const ModelConfig& config, std::string name) {
  std::vector<ModelQueue::Arenas> arenas;
  for (const Core::Worker& worker : core_->workers) arenas.push_back(worker.arenas);
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<ModelQueue> queue,
                           ModelQueue::Create(std::move(engine), config, arenas, std::move(name)));
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
  Status status = TrySubmit(queue, job);
  if (!status.ok() && job->sequence_start) {
    const std::lock_guard lock(core_->mutex);
    queue->LoseStart(*job);
  }
  return status;
}

Status Scheduler::TrySubmit(const std::shared_ptr<ModelQueue>& queue,
                            const std::shared_ptr<Job>& job) {
  bool notify = false;
  try {
    VERDICT_RETURN_IF_ERROR(queue->CheckJob(*job));
    const std::lock_guard lock(core_->mutex);
    if (core_->stopping) return Unavailable("the server is stopping");
    const Clock::time_point now = Clock::now();
    nanoseconds until_free = core_->UntilFree(*queue, now);
    if (job->deadline != kNever) until_free += core_->WorkOfOthers(*queue, *job, now);
    VERDICT_RETURN_IF_ERROR(queue->Enter(job, now, until_free));
    // From here on it is answered through Finish.
    try {
      notify = core_->NeedsWorker(*queue, now);
    } catch (const std::bad_alloc&) {
      notify = true;  // the worker finds out
    }
    core_->WatchFor(queue->queue_.next_expiry());
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory to queue this request; try again later");
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

Status Scheduler::GoOn(const std::shared_ptr<ModelQueue>& queue, const std::shared_ptr<Job>& job,
                       Clock::time_point started, DeviceRun* run) {
  std::list<Batch> one;
  try {
    one.emplace_back().parts.push_back({job});
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory to run this request; try again later");
  }
  Batch& batch = one.front();
  const std::lock_guard lock(core_->mutex);
  if (core_->stopping) return Unavailable("the server is stopping");
  // The scheduler's own hold: the caller's ends with the job.
  batch.queue = *std::ranges::find(core_->queues, queue.get(), &std::shared_ptr<ModelQueue>::get);
  batch.runnable = 1;
  batch.rows = job->rows;
  batch.started = started;
  batch.device_run = std::move(*run);
  job->times_.queued = job->times_.started = started;
  job->times_.run_rows = job->rows;
  ++queue->running_;
  queue->Publish();
  core_->AddLate(&one);
  return OkStatus();
}

bool Scheduler::has_idle_thread() const { return core_->idle.load(std::memory_order_relaxed) > 0; }

void Scheduler::Hurry(const ModelQueue* queue) {
  {
    const std::lock_guard lock(core_->mutex);
    for (const std::shared_ptr<ModelQueue>& each : core_->queues) {
      if (queue == nullptr || each.get() == queue) each->limits_.max_delay = nanoseconds(0);
    }
  }
  core_->work_ready.notify_all();
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
    try {
      notify = core_->NeedsWorker(queue, now);
    } catch (const std::bad_alloc&) {
      notify = true;
    }
    core_->WatchFor(queue.NextExpiry());  // or it is idle from now on
  }
  if (notify) core_->work_ready.notify_one();
  return true;
}

}  // namespace verdict
