#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/session.h"

namespace verdict {

struct LoadOptions {
  double warm_up_ms = 200;
  double duration_s = 3;
  int64_t iterations = 10;  // at least so many runs a thread
  int threads = 1;
};

/// When one run began and ended, in milliseconds since the measurement began.
struct RunTime {
  double start_ms = 0;
  double end_ms = 0;
};

struct LoadResult {
  std::vector<RunTime> runs;  // all threads', each thread's in order
  double wall_s = 0;          // from the first start to the last end
  uint64_t device_runs = 0;   // of them, those that a device has answered
};

/// Runs the engine over and over, one session a thread: first warm_up_ms unmeasured, then at least
/// duration_s and `iterations` runs (at most 2^26 a thread). inputs: shared by the threads. Errors:
/// as Session::Create and Session::Run; kResourceExhausted without threads or memory.
Result<LoadResult> GenerateLoad(const std::shared_ptr<const Engine>& engine,
                                std::span<const TensorView> inputs, const LoadOptions& options);

}  // namespace verdict
