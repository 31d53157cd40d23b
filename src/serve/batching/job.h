#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "ir/types.h"
#include "runtime/device_outcome.h"

namespace verdict {

struct Sequence;

/// One inference request that waits for a run of its model. The transport derives from it to keep
/// the request's memory and to make the answer.
///
/// Everything public is set before Scheduler::Submit and not changed after it.
class Job {
 public:
  using Clock = std::chrono::steady_clock;

  /// When what happened to it; a phase that it did not reach has none.
  struct Times {
    Clock::time_point queued;                         // Submit took it
    Clock::time_point started;                        // its run began
    Clock::time_point computed;                       // its run ended
    int64_t run_rows = 0;                             // rows of its run
    DeviceOutcome device = DeviceOutcome::kNotThere;  // of its run
    int thread = 0;  // the compute thread that calls Finish, in [0, threads]
  };

  virtual ~Job() = default;

  /// One per input of the engine, in order; checked. An input that carries a sequence's state has
  /// null data (its type and shape are not looked at) and is fed from the store; with data it is
  /// used in place of what is stored.
  std::span<const TensorView> inputs;
  int64_t rows = 1;  // the batch extent of `inputs`; 1 where there is none and for sequences
  Clock::time_point deadline = Clock::time_point::max();
  /// How long it may wait in the queue by its own wish, in microseconds; 0: as the model says.
  uint64_t timeout_us = 0;
  uint32_t priority = 0;  // 1 is most urgent; 0 or unknown: the model's default level
  /// Whose state it goes on with; empty: of no sequence.
  std::string sequence;
  bool sequence_start = false;  // forget the state first
  bool sequence_end = false;    // forget it afterwards

  /// The answer. Called exactly once for a submitted job, unless it was cancelled in time, on a
  /// thread of the scheduler (Times::thread says which: one of its own for what expires has the
  /// number `threads`); must not block.
  ///
  /// outputs: one per output of the engine, in order, states included, with `rows` rows; valid
  ///   during the call; empty if `status` is an error.
  virtual void Finish(const Status& status, std::span<const TensorView> outputs,
                      const Times& times) = 0;

 private:
  friend class JobQueue;
  friend class ModelQueue;
  friend class Scheduler;
  friend class SequenceStore;

  /// Where it is in its queue. kHeld: behind another one of its sequence.
  enum class Place { kNone, kReady, kDelayed, kHeld };
  using ByTime = std::multimap<Clock::time_point, Job*>;

  // All of this is guarded by the scheduler's mutex.
  Times times_;
  Place place_ = Place::kNone;
  size_t level_ = 0;
  Clock::time_point due_;         // its turn: the earlier, the sooner
  Clock::time_point start_by_;    // the latest start by deadline and cost, or by its timeout
  Clock::time_point expires_;     // when it is rejected or delayed; max: never
  bool ends_by_timeout_ = false;  // start_by_ is its timeout, not its deadline
  std::list<std::shared_ptr<Job>>::iterator in_all_;
  ByTime::node_type order_node_;  // while it is held: to have its turn takes no memory
  ByTime::iterator in_order_;
  ByTime::iterator in_expiries_;  // if it expires
  Sequence* of_sequence_ = nullptr;
  std::list<Job*>::iterator in_sequence_;
  bool start_lost_ = false;  // it follows one that was to begin the sequence anew, and did not
};

}  // namespace verdict
