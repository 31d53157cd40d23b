#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "ir/types.h"

namespace verdict {

class ModelQueue;

/// One inference request that waits for a run of its model. The transport derives from it to keep
/// the request's memory and to make the answer.
///
/// Everything public is set before Scheduler::Submit and not changed after it.
class Job {
 public:
  using Clock = std::chrono::steady_clock;

  /// When what happened to it; a phase that it did not reach has none.
  struct Times {
    Clock::time_point queued;    // Submit took it
    Clock::time_point started;   // its run began
    Clock::time_point computed;  // its run ended
    int thread = 0;              // the compute thread that calls Finish, in [0, threads]
  };

  virtual ~Job() = default;

  std::span<const TensorView> inputs;  // one per input of the engine, in order; checked
  int64_t rows = 1;                    // the batch extent of `inputs`; 1 where there is none
  Clock::time_point deadline = Clock::time_point::max();
  /// How long it may wait in the queue by its own wish, in microseconds; 0: as the model says.
  uint64_t timeout_us = 0;
  uint32_t priority = 0;  // 1 is most urgent; 0: the model's default level
  /// Whose state it goes on with; empty: of no sequence.
  std::string sequence;
  bool sequence_start = false;  // forget the state first
  bool sequence_end = false;    // forget it afterwards

  /// The answer. Called exactly once for a submitted job, unless it was cancelled in time, on a
  /// thread of the scheduler (Times::thread says which: one of its own for what expires has the
  /// number `threads`); must not block.
  ///
  /// outputs: one per output of the engine, in order, with `rows` rows; valid during the call;
  /// empty
  ///   if `status` is an error.
  virtual void Finish(const Status& status, std::span<const TensorView> outputs,
                      const Times& times) = 0;

 private:
  friend class ModelQueue;
  friend class Scheduler;
  Times times_;
  std::list<std::shared_ptr<Job>>::iterator place_;  // in a queue's list, while it waits
  bool waiting_ = false;
};

}  // namespace verdict
