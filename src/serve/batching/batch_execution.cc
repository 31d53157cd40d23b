// Of Scheduler::Core: what becomes of a batch once it is taken out of its queue.
#include <algorithm>
#include <new>
#include <utility>

#include "serve/batching/scheduler_core.h"

namespace verdict {
namespace {

/// A run that finds no memory fails alone: an exception would end the thread, and the process.
Status RunCaught(BatchRun& run, std::span<const BatchRun::Part> parts,
                 Job::Clock::time_point until = Job::Clock::time_point::max(),
                 DeviceRun* device_run = nullptr) {
  try {
    return run.Run(parts, until, device_run);
  } catch (const std::bad_alloc&) {
    if (device_run != nullptr) *device_run = {};
    return ResourceExhausted("no memory to run this request; try again later");
  }
}

}  // namespace

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

void Scheduler::Core::Execute(size_t index, Batch* batch, Lock& lock) {
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
bool Scheduler::Core::Leave(size_t index, Batch* batch, Lock& lock) {
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
  batch.queue->late_runs_.Add(1);
  late.splice(late.end(), *one);
  WatchFor(Clock::now() + kLookAtLate);
}

bool Scheduler::Core::TakeLate(Batch* batch) {
  const auto ended = std::ranges::find_if(late, &Batch::can_go_on);
  if (ended == late.end()) return false;
  *batch = std::move(*ended);
  late.erase(ended);
  --batch->queue->late_;
  return true;
}

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

}  // namespace verdict
