#include "serve/endpoints/inference.h"

#include <algorithm>
#include <cstdio>

#include "serve/batching/scheduler.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

/// One run in so many is observed: to observe takes 27 ns, a fifth of the shortest runs. A prime,
/// so that models whose requests take turns are all seen.
constexpr uint32_t kObserveOneIn = 17;

/// When this thread was done with the request before, and how many in a row found it idle.
thread_local Clock::time_point idle_since;
thread_local int found_idle = 0;

bool WasIdle(Clock::time_point begin) { return begin - idle_since >= kBusyWithin; }

bool IsCheap(const LoadedModel& model, int64_t rows,
             std::chrono::nanoseconds at_most = kRunHereAtMost) {
  return model.queue()->cost().Estimate(rows) <= at_most;
}

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

DeviceUse UseOf(DeviceOutcome outcome) {
  switch (outcome) {
    case DeviceOutcome::kNotThere:
      break;
    case DeviceOutcome::kAnswered:
      return DeviceUse::kAnswered;
    case DeviceOutcome::kDeclined:
      return DeviceUse::kDeclined;
    case DeviceOutcome::kBusy:
      return DeviceUse::kBusy;
    case DeviceOutcome::kFailed:
      return DeviceUse::kFailed;
  }
  return DeviceUse::kNotThere;
}

RequestTimes TimesOf(const Phases& phases) {
  RequestTimes times;
  times.total_ns = Nanoseconds(phases.written - phases.begin);
  times.input_ns = Nanoseconds(phases.parsed - phases.begin);
  times.queue_ns = Nanoseconds(phases.started - phases.parsed);
  times.infer_ns = Nanoseconds(phases.computed - phases.started);
  times.output_ns = Nanoseconds(phases.written - phases.computed);
  return times;
}

}  // namespace

int64_t RowsOf(const LoadedModel& model, std::span<const TensorView> inputs) {
  if (model.inputs().empty() || model.config().sequence_batching.has_value()) return 1;
  const Shape& shape = model.inputs()[0].shape;
  if (shape.rank() == 0 || shape[0] >= 0) return 1;
  return inputs[0].shape[0];
}

HereRun RunsHere(const Service& service, const LoadedModel& model, int64_t rows,
                 Clock::time_point begin) {
  using OwnThread = LoadedModel::OwnThread;
  const OwnThread own_thread = model.own_thread();
  if (own_thread == OwnThread::kNever) return {};
  ModelQueue& queue = *model.queue();
  if (queue.faults().active()) return {};  // a compute thread is to suffer from it
  if (own_thread == OwnThread::kAlways) return IsCheap(model, rows) ? queue.TryRun() : HereRun();
  // What no batch takes is the queue's to refuse.
  const bool alone = found_idle + 1 >= kAloneInARow && WasIdle(begin) && rows <= queue.max_rows() &&
                     IsCheap(model, rows, kRunAloneAtMost) && service.scheduler().has_idle_thread();
  return alone ? queue.TryLoneRun() : HereRun();
}

void EndOfInference(Clock::time_point begin) {
  found_idle = WasIdle(begin) ? std::min(found_idle + 1, kAloneInARow) : 0;
  idle_since = Clock::now();
}

Status CheckTime(Service& service, const LoadedModel& model, Clock::time_point deadline) {
  if (deadline == Clock::time_point::max()) return OkStatus();
  // The queue refuses a request of a sequence, when it is known which one: a start ends the state
  // before it even if it is refused.
  if (model.config().sequence_batching.has_value()) return OkStatus();
  if (model.own_thread() != LoadedModel::OwnThread::kAlways || !IsCheap(model, 1)) {
    return service.scheduler().Foresee(*model.queue(), deadline);
  }
  if (Clock::now() + model.queue()->cost().Estimate(1) <= deadline) return OkStatus();
  return DeadlineExceeded("the deadline is too near or past: nothing was run");
}

Result<std::span<const TensorView>> RunHere(const LoadedModel& model, int worker,
                                            std::span<const TensorView> inputs,
                                            Clock::time_point deadline, Phases* phases,
                                            DeviceRun* late) {
  phases->started = Clock::now();
  const int64_t rows = RowsOf(model, inputs);
  if (deadline != Clock::time_point::max()) {
    const auto cost = model.queue()->cost().Estimate(rows);
    if (phases->started + cost > deadline) {
      return DeadlineExceeded("the deadline is too near or past: nothing was run");
    }
  }
  Session& session = model.session(worker);
  auto results = session.Run(inputs, phases->started + model.queue()->Patience(rows), late);
  if (!results.ok()) return NamingInput(model.engine().graph(), results.status());
  if (*late) return results;
  phases->computed = Clock::now();
  phases->device = session.device_outcome();
  thread_local uint32_t runs = 0;
  if (++runs % kObserveOneIn == 0) {
    model.queue()->Observe(rows, phases->computed - phases->started, phases->device);
  }
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

void FillJob(const InferRequest& request, const LoadedModel& model, Clock::time_point deadline,
             Job* job) {
  job->inputs = request.inputs;
  job->rows = RowsOf(model, request.inputs);
  job->deadline = deadline;
  job->timeout_us = request.timeout_us;
  job->priority = request.priority;
  job->sequence = request.sequence;
  job->sequence_start = request.sequence_start;
  job->sequence_end = request.sequence_end;
}

void Record(Service& service, int slot, const Status& status, const InferenceRecord& record) {
  const Phases& phases = record.phases;
  ModelMetrics& metrics = record.model.metrics();
  if (status.ok()) {
    const ModelMetrics::Rows rows{static_cast<uint64_t>(record.rows),
                                  static_cast<uint64_t>(record.run_rows), record.alone,
                                  UseOf(phases.device)};
    metrics.RecordSuccess(slot, rows, EpochMilliseconds(), TimesOf(phases));
  } else {
    metrics.RecordFailure(slot, ReasonOf(status.code()), Nanoseconds(Clock::now() - phases.begin));
  }
  if (!record.alone && status.ok()) {
    const auto delay = phases.started - phases.parsed;
    service.gate().ObserveQueueDelay(std::chrono::duration_cast<std::chrono::microseconds>(delay),
                                     phases.started);
  }
  if (!record.trace.sampled) return;
  SpanRecord span = record.trace.Span();
  span.model = record.model.name();
  span.version = record.model.version_text();
  span.rows = record.rows;
  span.status = status.code();
  span.received = phases.begin;
  span.parsed = phases.parsed;
  span.started = phases.started;
  span.computed = phases.computed;
  span.done = status.ok() ? phases.written : Clock::now();
  service.tracer().Record(slot, span);
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
