#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "observe/batch_sizes.h"
#include "observe/local_counter.h"
#include "release/repository/model_config.h"
#include "runtime/arena.h"
#include "runtime/device_engine.h"
#include "runtime/engine.h"
#include "serve/batching/batch_policy.h"
#include "serve/batching/batch_run.h"
#include "serve/batching/cost_model.h"
#include "serve/batching/engine_rows.h"
#include "serve/batching/job.h"
#include "serve/batching/queue.h"
#include "serve/batching/sequence_store.h"

namespace verdict {

/// A run beside the scheduler, on a thread of a transport: counted from when it is allowed until
/// this goes. Or none, if it is not allowed.
class HereRun {
 public:
  HereRun() = default;
  /// count: null, if it is not counted.
  explicit HereRun(std::atomic<int>* count) : allowed_(true), count_(count) {}
  HereRun(HereRun&& other) noexcept
      : allowed_(std::exchange(other.allowed_, false)),
        count_(std::exchange(other.count_, nullptr)) {}
  HereRun& operator=(HereRun&&) = delete;
  ~HereRun() {
    if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_relaxed);
  }
  explicit operator bool() const { return allowed_; }

 private:
  bool allowed_ = false;
  std::atomic<int>* count_ = nullptr;
};

/// A model's place in a Scheduler: what waits, what runs, and what has been counted. See
/// Scheduler::Add. Threads: any, for what is public.
class ModelQueue {
 public:
  /// Jobs that were not executed, by reason.
  struct Rejected {
    uint64_t full = 0;         // no room in the queue, or for its sequence
    uint64_t cannot_meet = 0;  // its deadline, by the cost of a run or by what waits
    uint64_t expired = 0;      // in the queue: its deadline came too near
    uint64_t timeout = 0;      // in the queue: its time to wait was over
    uint64_t cancelled = 0;    // in the queue
  };
  struct Sequences {
    uint64_t held = 0;
    uint64_t evicted = 0;  // to make room
    uint64_t expired = 0;
  };

  const Engine& engine() const { return *engine_; }
  /// Of a run where it would be made now: on the device while the engine is there, else here.
  const CostModel& cost() const { return on_device() ? *device_cost_ : *cost_; }
  /// Takes a run into account. One that waited for the device or failed on it first took longer
  /// than another will.
  void Observe(int64_t rows, std::chrono::nanoseconds time, DeviceOutcome device) {
    if (device == DeviceOutcome::kBusy || device == DeviceOutcome::kFailed) return;
    (device == DeviceOutcome::kAnswered ? *device_cost_ : *cost_).Observe(rows, time);
  }
  /// How many runs a device takes at a time, once the engine is there. Before it is attached.
  void SetDeviceStreams(int streams);
  /// Measures what runs cost on a device on which the engine has been loaded, and warms it up.
  /// Takes as long as CostModel::Measure the first time; later, as after a recovery, what is known
  /// is good enough to go on with. Errors: DeviceEngine::Run's, but for kInvalidArgument.
  Status MeasureDevice(DeviceEngine& device);
  /// What operators let go wrong in its runs.
  FaultPoint& faults() { return faults_; }
  /// Jobs that wait.
  size_t pending() const { return pending_.value(); }
  /// How long a thread waits for a run's end on a device before it leaves it to whoever looks after
  /// such runs: a healthy one's has long come by then.
  std::chrono::nanoseconds Patience(int64_t rows) const {
    return std::max<std::chrono::nanoseconds>(kLeastPatience,
                                              kPatienceInRuns * cost().Estimate(rows));
  }
  /// True if none waits and none is in a run.
  bool quiet() const { return pending_.value() == 0 && active_.value() == 0; }
  /// Allows a run beside the scheduler's if it is the only one of the model.
  HereRun TryLoneRun() { return quiet() ? CountHere(1) : HereRun(); }
  /// Allows one if it need not wait for a stream of the device's: on the CPU always.
  HereRun TryRun() {
    return on_device() ? CountHere(streams_ - static_cast<int>(active_.value())) : HereRun(nullptr);
  }
  /// The most rows of one job; 0: whatever the engine takes.
  int64_t max_rows() const { return limits_.combines ? limits_.max_rows : config_.max_batch_size; }
  /// True if a trial gave every row the same bits in a batch as alone; else they agree to rounding.
  bool bit_exact() const { return bit_exact_; }
  /// The inputs that jobs need not bring, and the outputs that carry them on; empty: the model has
  /// no sequences.
  std::span<const StateSlot> states() const { return states_; }

  /// Whether an engine can be served with a configuration: limits, priorities, states. Nothing is
  /// run. Errors: kInvalidArgument, as of Scheduler::Add.
  static Status Check(std::shared_ptr<const Engine> engine, const ModelConfig& config);

  Rejected rejected() const;
  /// Runs by their number of rows; the times of tensors are not known here.
  BatchSizes::Totals batch_sizes() const;
  Sequences sequences() const;
  /// On the device, of those that no thread waited for any longer (Patience).
  uint64_t late_runs() const { return late_runs_.value(); }

 private:
  friend class Scheduler;
  friend class ModelQueueInFakeTime;  // of the tests

  static constexpr std::chrono::milliseconds kLeastPatience{2};
  static constexpr int kPatienceInRuns = 8;
  /// most: at a time, with this one.
  HereRun CountHere(int most);

  /// The arenas of a compute thread.
  struct Arenas {
    std::shared_ptr<Arena> work, staging;
  };
  /// A queue that cannot run yet. Errors: as Check.
  static Result<std::shared_ptr<ModelQueue>> Configure(std::shared_ptr<const Engine> engine,
                                                       const ModelConfig& config, std::string name);
  static Result<std::shared_ptr<ModelQueue>> Create(std::shared_ptr<const Engine> engine,
                                                    const ModelConfig& config,
                                                    std::span<const Arenas> threads,
                                                    std::string name = {});
  ModelQueue(const ModelConfig& config, std::string name);
  Status SetLimits();
  Status SetStates();
  Status CheckJob(const Job& job) const;
  /// True if the job has no state to go on with unless its sequence has one.
  bool NeedsState(const Job& job) const;
  Status NoState(const Job& job) const;

  // What follows is called under the scheduler's mutex.

  /// True if a run may begin, as far as this model goes.
  bool CanStart() const { return queue_.has_ready() && !at_limit(); }
  /// A run that goes on on a device without a thread does not count, unless the next one would
  /// overtake it.
  bool at_limit() const { return (limits_.in_order ? running_ : running_ - late_) >= limit(); }
  bool on_device() const { return engine_->device_slot().attached(); }
  /// Runs at a time.
  int limit() const { return on_device() ? device_limit_ : limit_; }
  /// Null if the measured cost is in doubt: it kept everything out for a while.
  const CostModel* Cost(Job::Clock::time_point now) const;
  Status Refuse(Status status);
  int64_t RowsIn(std::chrono::nanoseconds time) const;
  /// How long the runs take, one after another, of what waits here and goes before another model's
  /// job, which is of that level, due then and to be answered in `left`.
  std::chrono::nanoseconds WorkAhead(size_t level, Job::Clock::time_point due,
                                     std::chrono::nanoseconds left,
                                     Job::Clock::time_point now) const;
  /// Whether a job can be in time. until_free: until a thread could begin a run. Errors: as
  /// Scheduler::Foresee.
  Status CheckTime(const Job& job, Job::Clock::time_point now, std::chrono::nanoseconds until_free);
  /// until_free: as for CheckTime. Errors: as Scheduler::Submit.
  Status Enter(const std::shared_ptr<Job>& job, Job::Clock::time_point now,
               std::chrono::nanoseconds until_free);
  /// A job that was to begin its sequence anew is not entered.
  void LoseStart(const Job& job);
  /// Asks the policy; decision_ and candidates_ are then set.
  const BatchDecision& Decide(Job::Clock::time_point now);
  /// Takes a job out that is not to run.
  std::shared_ptr<Job> Remove(Job& job, Job::Clock::time_point now);
  /// The same of one that Decide found too late, which is counted.
  std::shared_ptr<Job> RemoveDoomed(Job& job, Job::Clock::time_point now);
  /// True if the queue's time to wait is over for a job, not the deadline.
  static bool TimedOut(const Job& job, Job::Clock::time_point now) {
    return job.ends_by_timeout_ && job.start_by_ <= now;
  }
  /// Takes the decided batch out.
  void Begin(Job::Clock::time_point now, std::vector<BatchRun::Part>* parts);
  /// A run has ended. The parts' jobs may be gone. rows: negative if there was nothing to run.
  void End(std::span<const BatchRun::Part> parts, int64_t rows, std::chrono::nanoseconds compute,
           Job::Clock::time_point now);
  /// The next job that has expired, taken out; null: no more.
  std::shared_ptr<Job> TakeExpired(Job::Clock::time_point now);
  Job::Clock::time_point NextExpiry() const;
  void Publish();

  ModelConfig config_;
  std::string name_;
  std::shared_ptr<const Engine> engine_;
  EngineRows rows_;
  BatchLimits limits_;
  std::vector<StateSlot> states_;
  bool bit_exact_ = true;
  int64_t most_rows_ = 1;  // that costs are measured for
  std::unique_ptr<CostModel> cost_;
  std::unique_ptr<CostModel> device_cost_;
  std::atomic<bool> device_measured_{false};
  std::vector<std::unique_ptr<BatchRun>> runs_;  // per compute thread, its own
  int threads_ = 1;                              // compute threads
  int limit_ = 1;                                // runs at a time on the CPU
  int device_limit_ = 1;                         // and on the device
  int streams_ = 1;                              // of the device's, for this model
  std::atomic<int> here_{0};                     // runs beside the scheduler that are counted

  // Guarded by the scheduler's mutex.
  JobQueue queue_;
  std::optional<SequenceStore> sequences_;
  int running_ = 0;
  int late_ = 0;  // of them, on a device without a thread
  Job::Clock::time_point last_run_;
  uint64_t refused_ = 0;  // by cost, since the last run
  std::vector<BatchCandidate> candidates_;
  std::vector<Job*> candidate_jobs_;
  BatchDecision decision_;
  std::atomic<bool> retired_{false};  // nobody holds it but the scheduler

  // Written under the scheduler's mutex, read by any thread.
  LocalCounter pending_, active_, full_, cannot_meet_, expired_, timeout_, cancelled_;
  LocalCounter sequences_held_, sequences_evicted_, sequences_expired_, late_runs_;
  BatchSizes sizes_;
  FaultPoint faults_;
};

}  // namespace verdict
