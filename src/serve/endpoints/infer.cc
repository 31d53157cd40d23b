#include <algorithm>
#include <chrono>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_response.h"
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

FailureReason ReasonOf(StatusCode code) {
  switch (code) {
    case StatusCode::kCancelled:
    case StatusCode::kDeadlineExceeded:
      return FailureReason::kCanceled;
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

/// Rows of a request: the first input's first extent, where the model leaves it open.
uint64_t RowsOf(const Engine& engine, const InferRequest& request) {
  if (engine.inputs().empty()) return 1;
  const Shape& model = engine.inputs()[0].shape;
  if (model.rank() == 0 || model[0] >= 0) return 1;
  return static_cast<uint64_t>(request.inputs[0].shape[0]);
}

/// A kernel's error names the node, which is unknown to the client: where the node reads just one
/// of the model's inputs, as Gather its indices, the input is named too.
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

Status Infer(const LoadedModel& model, Service::Scratch& scratch, const Call& call,
             Clock::time_point start, SpanRecord* span, Reply* reply) {
  const Engine& engine = model.engine();
  VERDICT_RETURN_IF_ERROR(scratch.reader.Read(call.json, call.binary, engine.inputs(),
                                              engine.outputs(), &scratch.request));
  const auto read = Clock::now();
  span->parsed = span->started = read;
  span->rows = static_cast<int64_t>(RowsOf(engine, scratch.request));
  const auto results = model.session(call.worker).Run(scratch.request.inputs);
  if (!results.ok()) return NamingInput(engine.graph(), results.status());
  const auto computed = Clock::now();
  span->computed = computed;
  VERDICT_RETURN_IF_ERROR(WriteInferResponse(model.name(), model.version_text(), scratch.request,
                                             engine.outputs(), *results, &reply->body,
                                             &reply->json_bytes));
  const auto written = Clock::now();
  RequestTimes times;
  times.total_ns = Nanoseconds(written - start);
  times.input_ns = Nanoseconds(read - start);
  times.infer_ns = Nanoseconds(computed - read);
  times.output_ns = Nanoseconds(written - computed);
  model.metrics().RecordSuccess(call.worker, RowsOf(engine, scratch.request), EpochMilliseconds(),
                                times);
  return OkStatus();
}

}  // namespace

Status HandleInfer(Service& service, const Call& call, Reply* reply) {
  const auto start = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  Service::Scratch& scratch = service.scratch(call.worker);
  const RequestTrace trace = service.tracer().Begin(call.worker, model->name(), call.trace);
  SpanRecord span = trace.Span();
  Status status = Infer(*model, scratch, call, start, &span, reply);
  scratch.reader.Shrink();
  scratch.request.outputs.clear();  // lets go of shared memory
  if (!status.ok()) {
    model->metrics().RecordFailure(call.worker, ReasonOf(status.code()),
                                   Nanoseconds(Clock::now() - start));
  }
  if (trace.sampled) {
    span.model = model->name();
    span.version = model->version_text();
    span.status = status.code();
    span.received = start;
    span.done = Clock::now();
    service.tracer().Record(call.worker, span);
    const auto traceparent = trace.Traceparent();
    reply->traceparent.assign(traceparent.data(), traceparent.size());
  }
  return status;
}

}  // namespace verdict
