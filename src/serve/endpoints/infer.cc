#include "serve/endpoints/infer.h"

#include <algorithm>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_response.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

using Clock = InferMoments::Clock;

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
             Clock::time_point start, Reply* reply) {
  const Engine& engine = model.engine();
  InferMoments moments{.start = start};
  VERDICT_RETURN_IF_ERROR(scratch.reader.Read(call.json, call.binary, engine.inputs(),
                                              engine.outputs(), &scratch.request));
  moments.read = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const auto results,
                           RunModel(model, call.worker, scratch.request.inputs));
  moments.computed = Clock::now();
  VERDICT_RETURN_IF_ERROR(WriteInferResponse(model.name(), model.version_text(), scratch.request,
                                             engine.outputs(), results, &reply->body,
                                             &reply->json_bytes));
  moments.written = Clock::now();
  RecordSuccess(model, call.worker, scratch.request, moments);
  return OkStatus();
}

}  // namespace

Result<std::span<const TensorView>> RunModel(const LoadedModel& model, int worker,
                                             std::span<const TensorView> inputs) {
  auto results = model.session(worker).Run(inputs);
  if (!results.ok()) return NamingInput(model.engine().graph(), results.status());
  return results;
}

void RecordSuccess(const LoadedModel& model, int worker, const InferRequest& request,
                   const InferMoments& moments) {
  RequestTimes times;
  times.total_ns = Nanoseconds(moments.written - moments.start);
  times.input_ns = Nanoseconds(moments.read - moments.start);
  times.infer_ns = Nanoseconds(moments.computed - moments.read);
  times.output_ns = Nanoseconds(moments.written - moments.computed);
  model.metrics().RecordSuccess(worker, RowsOf(model.engine(), request), EpochMilliseconds(),
                                times);
}

void RecordFailure(const LoadedModel& model, int worker, StatusCode code,
                   InferMoments::Clock::time_point start) {
  model.metrics().RecordFailure(worker, ReasonOf(code), Nanoseconds(Clock::now() - start));
}

Status HandleInfer(Service& service, const Call& call, Reply* reply) {
  const auto start = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  Service::Scratch& scratch = service.scratch(call.worker);
  Status status = Infer(*model, scratch, call, start, reply);
  scratch.reader.Shrink();
  if (!status.ok()) RecordFailure(*model, call.worker, status.code(), start);
  return status;
}

}  // namespace verdict
