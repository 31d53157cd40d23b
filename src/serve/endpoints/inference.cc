#include "serve/endpoints/inference.h"

#include <algorithm>
#include <cstdio>

#include "serve/batching/scheduler.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t Nanoseconds(Clock::duration duration) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

uint64_t EpochMilliseconds() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

/// In Triton's words: rejected is what was not run for lack of time or room.
FailureReason ReasonOf(StatusCode code) {
  switch (code) {
    case StatusCode::kCancelled:
      return FailureReason::kCanceled;
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
      return FailureReason::kRejected;
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
    case StatusCode::kUnknown:
      return FailureReason::kBackend;
    default:
      return FailureReason::kOther;
  }
}

}  // namespace

int64_t RowsOf(const Engine& engine, std::span<const TensorView> inputs) {
  if (engine.inputs().empty()) return 1;
  const Shape& model = engine.inputs()[0].shape;
  if (model.rank() == 0 || model[0] >= 0) return 1;
  return inputs[0].shape[0];
}

bool RunsHere(const LoadedModel& model, int64_t rows) {
  return !model.always_queued() && model.queue()->cost().Estimate(rows) <= kRunHereAtMost;
}

Result<std::span<const TensorView>> RunHere(const LoadedModel& model, int worker,
                                            std::span<const TensorView> inputs,
                                            Clock::time_point deadline, Phases* phases) {
  phases->started = Clock::now();
  if (deadline != Clock::time_point::max()) {
    const auto cost = model.queue()->cost().Estimate(RowsOf(model.engine(), inputs));
    if (phases->started + cost > deadline) {
      return DeadlineExceeded("the deadline is too near or past: nothing was run");
    }
  }
  auto results = model.session(worker).Run(inputs);
  if (!results.ok()) return NamingInput(model.engine().graph(), results.status());
  phases->computed = Clock::now();
  return results;
}

Status NamingInput(const Graph& graph, const Status& error) {
  const auto failed = [&](const Node& node) {
    return error.message().starts_with(Graph::Describe(node) + ": ");
  };
  if (std::ranges::count_if(graph.nodes, failed) != 1) return error;
  const Node& node = *std::ranges::find_if(graph.nodes, failed);
  const auto is_read = [&](ValueId id) { return std::ranges::count(node.inputs, id) > 0; };
  if (std::ranges::count_if(graph.inputs, is_read) != 1) return error;
  const ValueId input = *std::ranges::find_if(graph.inputs, is_read);
  return error.WithContext("input " + Quoted(graph.value(input).name));
}

void FillJob(const InferRequest& request, const Engine& engine, Clock::time_point deadline,
             Job* job) {
  job->inputs = request.inputs;
  job->rows = RowsOf(engine, request.inputs);
  job->deadline = deadline;
}

void RecordInference(const LoadedModel& model, int slot, int64_t rows, bool alone,
                     const Phases& phases) {
  RequestTimes times;
  times.total_ns = Nanoseconds(phases.written - phases.begin);
  times.input_ns = Nanoseconds(phases.parsed - phases.begin);
  times.queue_ns = Nanoseconds(phases.started - phases.parsed);
  times.infer_ns = Nanoseconds(phases.computed - phases.started);
  times.output_ns = Nanoseconds(phases.written - phases.computed);
  model.metrics().RecordSuccess(slot, static_cast<uint64_t>(rows), alone, EpochMilliseconds(),
                                times);
}

void RecordFailedInference(const LoadedModel& model, int slot, const Status& status,
                           Clock::time_point begin) {
  model.metrics().RecordFailure(slot, ReasonOf(status.code()), Nanoseconds(Clock::now() - begin));
}

std::string ServerTiming(const Phases& phases) {
  const auto milliseconds = [](Clock::duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
  };
  char text[128];
  const int length = std::snprintf(
      text, sizeof(text), "parse;dur=%.4g, queue;dur=%.4g, compute;dur=%.4g, serialise;dur=%.4g",
      milliseconds(phases.parsed - phases.begin), milliseconds(phases.started - phases.parsed),
      milliseconds(phases.computed - phases.started),
      milliseconds(phases.written - phases.computed));
  return {text, static_cast<size_t>(length)};
}

}  // namespace verdict
