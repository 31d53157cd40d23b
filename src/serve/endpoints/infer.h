#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/loaded_model.h"

namespace verdict {

// What all transports do with an inference request that has been read.

/// Moments of one request.
struct InferMoments {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start;     // it had arrived whole
  Clock::time_point read;      // its tensors were read
  Clock::time_point computed;  // the engine had run
  Clock::time_point written;   // the response was there
};

/// Runs a model on the calling worker's session. Returns: the session's views. Errors: those of
/// Session::Run, naming the input where one is at fault.
Result<std::span<const TensorView>> RunModel(const LoadedModel& model, int worker,
                                             std::span<const TensorView> inputs);

/// Counts a request that was answered, or failed. Threads: the worker's own.
void RecordSuccess(const LoadedModel& model, int worker, const InferRequest& request,
                   const InferMoments& moments);
void RecordFailure(const LoadedModel& model, int worker, StatusCode code,
                   InferMoments::Clock::time_point start);

}  // namespace verdict
