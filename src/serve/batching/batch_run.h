#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "runtime/arena.h"
#include "runtime/session.h"
#include "serve/batching/fault_point.h"
#include "serve/batching/job.h"
#include "serve/batching/sequence_store.h"

namespace verdict {

/// Where a tensor that the server keeps for a sequence comes from, goes to and is stored.
struct StateSlot {
  size_t input = 0, output = 0;  // of the engine
  Shape shape;                   // one sequence's: [1, …] where there is a batch
  size_t offset = 0, bytes = 0;  // in Sequence::memory
};

/// Runs jobs together: gathers their inputs along axis 0, runs the engine, and slices the outputs.
/// One job runs on its own memory, nothing copied. Belongs to one thread at a time.
class BatchRun {
 public:
  /// One job of a run.
  struct Part {
    std::shared_ptr<Job> job;
    Sequence* sequence = nullptr;  // set if there are states; nobody else touches its memory
    bool ends = false;             // the sequence
  };

  /// work, staging: shared with other models' runs on the same thread.
  /// max_rows: rows that are combined; 1: none are.
  /// states: empty, or of the sequences that jobs belong to; must outlive the run.
  /// Errors: kResourceExhausted.
  static Result<std::unique_ptr<BatchRun>> Create(std::shared_ptr<const Engine> engine,
                                                  int64_t max_rows,
                                                  std::span<const StateSlot> states,
                                                  std::shared_ptr<Arena> work,
                                                  std::shared_ptr<Arena> staging);
  ~BatchRun();

  /// Runs the parts together, and keeps their next states. Errors: those of Session::Run; then no
  /// state has changed, nor when it throws std::bad_alloc. `parts` is not empty; with more than
  /// one, extents but that of the rows are equal.
  /// until, device_run: as Session::Run has them; the run of another BatchRun is gone on with for
  /// the same parts.
  Status Run(std::span<const Part> parts,
             DeviceEngine::Clock::time_point until = DeviceEngine::Clock::time_point::max(),
             DeviceRun* device_run = nullptr);

  /// Whose orders its runs follow; outlives it.
  void Follow(FaultPoint* faults) { faults_ = faults; }

  /// Rows [first, first + rows) of the last run's outputs, of an engine with a batch. Valid until
  /// the next call or run.
  std::span<const TensorView> Outputs(int64_t first, int64_t rows);
  /// The last run's outputs as they are.
  std::span<const TensorView> Outputs() const { return outputs_; }
  /// What came of the device in the last run.
  DeviceOutcome device() const { return session_->device_outcome(); }

 private:
  BatchRun() = default;
  void ReserveSpares(size_t parts);
  void Gather(std::span<const Part> parts);
  const StateSlot* StateOf(size_t input) const;
  const std::byte* Stored(const Part& part, const StateSlot& slot) const;

  FaultPoint* faults_ = nullptr;
  std::unique_ptr<Session> session_;
  std::span<const StateSlot> states_;
  std::vector<const StateSlot*> state_of_;            // per input; null: none
  std::vector<std::byte> zeros_;                      // the initial state
  std::vector<std::unique_ptr<std::byte[]>> spares_;  // per part: memory of the state before
  std::shared_ptr<Arena> staging_;
  size_t staging_bytes_ = 0;
  std::vector<TensorView> inputs_;
  std::span<const TensorView> outputs_;
  std::vector<TensorView> slices_;
};

}  // namespace verdict
