#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "serve/batching/job.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/loaded_model.h"

namespace verdict {

// What every transport does with an inference request once it is read: run it at once, or queue it.

/// A run that is expected to take no longer is made on the thread that read the request: handing it
/// to another thread and back would take about as long.
inline constexpr std::chrono::microseconds kRunHereAtMost{100};
/// The same of a model that forms batches, where the request is alone (RunsHere): whatever else the
/// thread may get has been rare.
inline constexpr std::chrono::microseconds kRunAloneAtMost{250};

/// Rows of a request: the first input's first extent, where the model leaves it open; else, and of
/// a sequence, 1.
int64_t RowsOf(const LoadedModel& model, std::span<const TensorView> inputs);

/// A thread that gets a request so soon after it was done with the one before has more to do:
/// another client's request was there already. Above the 10 us or so of writing an answer and
/// reading what waits, below the 35 us or so that a lone client takes to come back.
inline constexpr std::chrono::microseconds kBusyWithin{20};
/// So many requests in a row must have found a thread idle before one counts as alone: clients that
/// are answered together come back together, and the first of them is to wait for the others.
inline constexpr int kAloneInARow = 4;

/// Whether the request is to run on the caller's thread (RunHere, while what is returned lives); if
/// not, it is to be queued (Scheduler::Submit): sequences and long runs are, what would wait for a
/// device's stream is, and what may share a batch is unless it is alone, which leaves nothing to
/// combine: no request of the model waits or runs anywhere, a compute thread would take this one at
/// once, and this thread was idle before it and the ones before. begin: when the thread got the
/// request.
[[nodiscard]] HereRun RunsHere(const Service& service, const LoadedModel& model, int64_t rows,
                               std::chrono::steady_clock::time_point begin);

/// This thread is done with a request, which it got at `begin`: it answered or queued it.
void EndOfInference(std::chrono::steady_clock::time_point begin);

/// Whether an answer by this deadline is possible, asked before the tensors are read: under
/// overload a refusal must cost little. Errors: kDeadlineExceeded, kUnavailable.
Status CheckTime(Service& service, const LoadedModel& model,
                 std::chrono::steady_clock::time_point deadline);

/// Runs the request with the worker's own session. Sets started, computed and device of *phases.
/// Returns: the outputs, valid until the worker's next run. If *late is set, which comes empty, a
/// device takes many times what it should: Scheduler::GoOn is to see to the rest. Errors:
/// kDeadlineExceeded (it would be too late; nothing has run), and as Session::Run.
Result<std::span<const TensorView>> RunHere(const LoadedModel& model, int worker,
                                            std::span<const TensorView> inputs,
                                            std::chrono::steady_clock::time_point deadline,
                                            Phases* phases, DeviceRun* late);

/// A run's error for the client: a kernel's error names the node, which is unknown to it. Where the
/// node reads just one of the model's inputs, as Gather its indices, the input is named too.
Status NamingInput(const Graph& graph, const Status& error);

/// Sets what the scheduler asks of a job: inputs, rows, deadline, priority, sequence.
void FillJob(const InferRequest& request, const LoadedModel& model,
             std::chrono::steady_clock::time_point deadline, Job* job);

/// The hint to the client of a request that the scheduler did not take: kRetrySoon if its queue is
/// full, else 0.
inline std::chrono::milliseconds RetryAfter(const Status& submitted) {
  return submitted.code() == StatusCode::kResourceExhausted ? kRetrySoon
                                                            : std::chrono::milliseconds{0};
}

/// What is left behind of a request: counters, and its span where it is traced.
struct InferenceRecord {
  const LoadedModel& model;
  Phases phases;  // as far as it came
  RequestTrace trace;
  int64_t rows = 0;
  int64_t run_rows = 0;  // of the run that answered it
  bool alone = false;    // as ModelMetrics::Rows
};
/// slot: the calling thread's number for counters and spans, Call::worker or
/// Service::compute_slot. Threads: the slot's own.
void Record(Service& service, int slot, const Status& status, const InferenceRecord& record);

/// "parse;dur=0.004, queue;dur=0, …" in milliseconds: the value of the field Server-Timing.
std::string ServerTiming(const Phases& phases);

}  // namespace verdict
