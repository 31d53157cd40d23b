#include "serve/batching/scheduler.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <new>
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

const char* const kTimedOut = "the time to wait in the queue was over";

/// Until a thread that found no memory looks again.
constexpr auto kWithoutMemory = std::chrono::milliseconds(5);

/// Between two looks at runs that go on on a device without a thread.
constexpr auto kLookAtLate = std::chrono::milliseconds(1);

/// Jobs that run together, taken out of their queue.
struct Batch {
  std::shared_ptr<ModelQueue> queue;
  std::vector<BatchRun::Part> parts;
  size_t runnable = 0;  // of the parts: the first ones
  int64_t rows = 0;     // of them; negative if there are none
  Clock::time_point started;
  DeviceRun device_run;    // that a thread has left
  bool can_go_on = false;  // it has ended
};

/// A run that finds no memory fails alone: an exception would end the thread, and the process.
Status RunCaught(BatchRun& run, std::span<const BatchRun::Part> parts,
                 Clock::time_point until = kNever, DeviceRun* device_run = nullptr) {
  try {
    return run.Run(parts, until, device_run);
  } catch (const std::bad_alloc&) {
    if (device_run != nullptr) *device_run = {};
    return ResourceExhausted("no memory to run this request; try again later");
  }
}

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
  void Execute(size_t index, Batch* batch, std::unique_lock<std::mutex>& lock);
  static void PutStatelessLast(Batch* batch);
  void Answer(BatchRun& run, const Batch& batch, const Status& status);
  bool Leave(size_t index, Batch* batch, std::unique_lock<std::mutex>& lock);
  void AddLate(std::list<Batch>* one);
  bool TakeLate(Batch* batch);
  bool LookAtLate();
  nanoseconds UntilFree(const ModelQueue& queue, Clock::time_point now) const;
  nanoseconds WorkOfOthers(const ModelQueue& queue, const Job& job, Clock::time_point now) const;
  bool NeedsWorker(ModelQueue& queue, Clock::time_point now);
  void WatchFor(Clock::time_point expiry);
  std::vector<std::shared_ptr<ModelQueue>> TakeRetired();
  /// thread: Job::Times::thread.
  static void FinishAll(std::span<const std::shared_ptr<Job>> jobs, const Status& status,
                        size_t thread);

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

/// The first of a sequence, which was to begin it, may have been cancelled or have failed: what
/// goes on with it then has nothing to go on with, and is answered.
void Scheduler::Core::PutStatelessLast(Batch* batch) {
  const ModelQueue& queue = *batch->queue;
  const auto has_state = [&](const BatchRun::Part& part) {
    return part.sequence == nullptr || part.sequence->memory != nullptr ||
           !queue.NeedsState(*part.job);
  };
  const auto lost = std::stable_partition(batch->parts.begin(), batch->parts.end(), has_state);
  batch->runnable = static_cast<size_t>(lost - batch->parts.begin());
  batch->rows = batch->runnable == 0 ? -1 : 0;
  for (auto part = batch->parts.begin(); part != lost; ++part) batch->rows += part->job->rows;
  for (BatchRun::Part& part : batch->parts) part.job->times_.run_rows = batch->rows;
  for (auto part = lost; part != batch->parts.end(); ++part) {
    part->job->Finish(queue.NoState(*part->job), {}, part->job->times_);
  }
}

/// Runs a batch that was taken out, or goes on with one that was late, and answers its jobs. The
/// lock is held on entry and exit only.
void Scheduler::Core::Execute(size_t index, Batch* batch, std::unique_lock<std::mutex>& lock) {
  ModelQueue& queue = *batch->queue;
  BatchRun& run = *queue.runs_[index];
  workers[index].running = &queue;
  lock.unlock();

  for (BatchRun::Part& part : batch->parts) part.job->times_.thread = static_cast<int>(index);
  if (!batch->device_run) {
    PutStatelessLast(batch);
    batch->started = Clock::now();
  }
  const std::span<const BatchRun::Part> runnable(batch->parts.data(), batch->runnable);
  Status status;
  if (!runnable.empty()) {
    const Clock::time_point until = Clock::now() + queue.Patience(batch->rows);
    status = RunCaught(run, runnable, until, &batch->device_run);
    if (batch->device_run) {
      if (Leave(index, batch, lock)) return;
      status = RunCaught(run, runnable, kNever, &batch->device_run);
    }
  }
  const nanoseconds compute = Clock::now() - batch->started;
  const DeviceOutcome device = run.device();
  Answer(run, *batch, status);
  if (status.ok() && !runnable.empty()) queue.Observe(batch->rows, compute, device);
  for (BatchRun::Part& part : batch->parts) part.job.reset();

  lock.lock();
  workers[index].running = nullptr;
  queue.End(batch->parts, batch->rows, compute, Clock::now());
}

void Scheduler::Core::Answer(BatchRun& run, const Batch& batch, const Status& status) {
  const std::span<const BatchRun::Part> runnable(batch.parts.data(), batch.runnable);
  const Clock::time_point computed = Clock::now();
  const DeviceOutcome device = run.device();
  if (runnable.size() == 1) {
    Job& job = *runnable.front().job;
    job.times_.computed = computed;
    job.times_.device = device;
    job.Finish(status, run.Outputs(), job.times_);
    return;
  }
  int64_t row = 0;
  for (const BatchRun::Part& part : runnable) {
    Job& job = *part.job;
    job.times_.computed = computed;
    job.times_.device = device;
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
    const Status own = RunCaught(run, std::span(&part, 1));
    job.times_.computed = Clock::now();
    job.times_.device = run.device();
    job.Finish(own, run.Outputs(), job.times_);
  }
}

/// A compute thread leaves a run to the device. Returns: true, with the lock; false, without, if
/// there is no memory for it, or nobody who would look at it.
bool Scheduler::Core::Leave(size_t index, Batch* batch, std::unique_lock<std::mutex>& lock) {
  std::list<Batch> one;
  try {
    one.emplace_back();
  } catch (const std::bad_alloc&) {
    return false;
  }
  lock.lock();
  if (stopping) {
    lock.unlock();
    return false;
  }
  workers[index].running = nullptr;
  one.front() = std::exchange(*batch, {});
  AddLate(&one);
  return true;
}

void Scheduler::Core::AddLate(std::list<Batch>* one) {
  Batch& batch = one->front();
  batch.can_go_on = false;
  ++batch.queue->late_;
  late.splice(late.end(), *one);
  WatchFor(Clock::now() + kLookAtLate);
}

/// One that has ended; false: none has.
bool Scheduler::Core::TakeLate(Batch* batch) {
  const auto ended = std::ranges::find_if(late, &Batch::can_go_on);
  if (ended == late.end()) return false;
  *batch = std::move(*ended);
  late.erase(ended);
  --batch->queue->late_;
  return true;
}

/// Finds out which have ended. Returns: true if others have not.
bool Scheduler::Core::LookAtLate() {
  bool ended = false, some_have_not = false;
  for (Batch& batch : late) {
    if (batch.can_go_on) continue;
    batch.can_go_on = batch.device_run.CanGoOn();
    (batch.can_go_on ? ended : some_have_not) = true;
  }
  if (ended) work_ready.notify_all();
  return some_have_not;
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
    if (LookAtLate()) armed_expiry = std::min(armed_expiry, now + kLookAtLate);
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
