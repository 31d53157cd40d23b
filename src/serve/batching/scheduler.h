#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "release/repository/model_config.h"
#include "runtime/engine.h"
#include "serve/batching/job.h"
#include "serve/batching/model_queue.h"

namespace verdict {

/// Runs jobs on compute threads: combines those of one model to batches as its configuration says,
/// in order of priority and deadline, never later than their deadlines allow by the measured cost
/// of a run; answers at once what cannot be done in time.
///
/// Between models the most urgent priority goes first (no priorities: 1), then the earliest
/// deadline, then the longest wait; what has waited for kPatience counts as of priority 1.
/// A run on a device that takes many times what it should keeps no thread: it is looked at now and
/// then, and gone on with once it has ended.
/// With preserve_ordering a model has one run at a time, and answers in order of arrival; what is
/// rejected is still answered at once.
/// Threads: any, for all functions.
class Scheduler {
 public:
  /// threads: compute threads, > 0, shared by all models; each has one working memory for all.
  /// Errors: kResourceExhausted.
  static Result<std::unique_ptr<Scheduler>> Start(int threads);
  /// Fails what still waits (kUnavailable), waits for the runs under way.
  ~Scheduler();

  /// A model's place in the scheduler. The model is served as long as someone holds it; what waits
  /// when the last one lets go is still answered. Takes about 200 ms at most (a trial, and the
  /// measurement of its cost), or a few runs if they are longer.
  ///
  /// Errors: kInvalidArgument: the configuration does not suit the engine (max_batch_size over the
  /// profiles, no common batch extent, rows that depend on each other as a trial shows, a state
  /// that is no input or output or differs in type or shape), kResourceExhausted (memory).
  /// name: of the model, for messages.
  Result<std::shared_ptr<ModelQueue>> Add(std::shared_ptr<const Engine> engine,
                                          const ModelConfig& config, std::string name = {});

  /// Puts a job in the queue of its model. Errors (the job's Finish is then not called):
  /// kInvalidArgument: inputs that the model does not take, no sequence for a model that needs one,
  /// a sequence that goes on but is unknown; kResourceExhausted: the queue is full, or there is no
  /// memory; kDeadlineExceeded: even an idle engine would be too late; kUnavailable: with what
  /// waits, of this model and of others before it, it would be too late, or the scheduler is
  /// stopping. What follows a start of a sequence that is not taken, or that does not get to its
  /// end later, does not go on with the state before it: it is refused until another start.
  Status Submit(const std::shared_ptr<ModelQueue>& queue, const std::shared_ptr<Job>& job);

  /// Whether a request with this deadline has a chance, asked before any work is put into it: one
  /// row of the highest priority. Errors: kDeadlineExceeded and kUnavailable as Submit, and counted
  /// as there.
  Status Foresee(ModelQueue& queue, Job::Clock::time_point deadline);

  /// Takes a job back. Returns: true if it had not begun; then Finish is not called, and the
  /// scheduler holds it no more. Cost: O(1), amortized.
  bool Cancel(ModelQueue& queue, Job& job);

  /// Goes on with a job's run that another thread has begun, on a device, and does not wait for any
  /// longer: its end, or the CPU plan's run if it fails, and the answer. started: when it began.
  /// Errors (*run is then still the caller's): kUnavailable: the scheduler is stopping;
  /// kResourceExhausted: no memory.
  Status GoOn(const std::shared_ptr<ModelQueue>& queue, const std::shared_ptr<Job>& job,
              Job::Clock::time_point started, DeviceRun* run);

  /// True if a compute thread waits for work. Threads: any.
  bool has_idle_thread() const;

  /// From now on no request of the model (null: of any) waits for others to share its batch: none
  /// will come, or there is no time.
  void Hurry(const ModelQueue* queue = nullptr);

 private:
  struct Core;
  explicit Scheduler(int threads);
  Status TrySubmit(const std::shared_ptr<ModelQueue>& queue, const std::shared_ptr<Job>& job);

  std::shared_ptr<Core> core_;
};

}  // namespace verdict
