#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "ir/types.h"
#include "serve/batching/cost_model.h"
#include "serve/batching/job.h"

namespace verdict {

/// What the policy knows of a waiting job.
struct BatchCandidate {
  int64_t rows = 1;
  Job::Clock::time_point queued;
  Job::Clock::time_point deadline = Job::Clock::time_point::max();  // to be computed by
  Job::Clock::time_point start_by = Job::Clock::time_point::max();
  std::span<const TensorView> inputs;  // only jobs with equal extents (but rows) go together
};

/// A model's rules for its batches.
struct BatchLimits {
  int64_t max_rows = 1;
  bool combines = false;                // false: each job runs alone, whatever its rows
  bool uniform = true;                  // extents (but rows) are known to be equal
  bool in_order = false;                // no job may overtake another
  std::vector<int64_t> preferred_rows;  // ascending
  std::chrono::nanoseconds max_delay{0};
};

/// Which batch runs now, or until when to wait for a better one.
struct BatchDecision {
  std::vector<size_t> doomed;  // cannot make their deadlines even alone
  std::vector<size_t> taken;   // the batch as it stands
  int64_t rows = 0;            // of it
  bool run = false;
  Job::Clock::time_point wake = Job::Clock::time_point::max();  // ask again then, if not `run`
};

/// Chooses among waiting jobs, given in the order of their turns.
///
/// A batch is never made so large that a job in it would miss its deadline by the estimated cost,
/// if it would make it in a smaller one. It runs at once when it is full, when nothing may be
/// waited for, or when a preferred size is reached; else at the earliest of: oldest job +
/// max_delay, earliest deadline - cost - a small margin.
///
/// cost: null if nothing is known: then only deadlines that have passed are missed.
/// decision: overwritten; its memory is used again.
/// Threads: pure. Cost: O(candidates looked at).
void ChooseBatch(std::span<const BatchCandidate> candidates, const BatchLimits& limits,
                 const CostModel* cost, Job::Clock::time_point now, BatchDecision* decision);

/// What stands before a new job.
struct Backlog {
  int64_t jobs = 0, rows = 0;              // that have their turn before it
  std::chrono::nanoseconds until_free{0};  // until a run of the model could begin
  int64_t concurrency = 1;                 // runs of the model at a time
};

/// How long a new job of `rows` rows takes from now to its end, by what waits before it. On the
/// safe side, by a quarter of the wait: a queue whose jobs have just time enough could only be
/// served in small, slow batches, and the answers still have to reach their clients.
std::chrono::nanoseconds ExpectedTime(int64_t rows, const Backlog& backlog,
                                      const BatchLimits& limits, const CostModel& cost);

}  // namespace verdict
