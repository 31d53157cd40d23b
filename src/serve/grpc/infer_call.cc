#include "serve/grpc/infer_call.h"

#include "serve/grpc/admission.h"
#include "serve/grpc/status_map.h"

namespace verdict {

void InferCall::Expect(GrpcWorker& worker) {
  // Not in one piece with its count, which timers of routes hold on to.
  const std::shared_ptr<InferCall> call(new InferCall(worker));
  call->context_.AsyncNotifyWhenDone(&call->done_event_);
  worker.IfOpen([&] {
    call->self_ = call;
    worker.shared.inference.RequestModelInfer(&call->context_, &call->bytes_, &call->writer_,
                                              worker.queue(), worker.queue(),
                                              &call->arrived_event_);
  });
}

InferCall::InferCall(GrpcWorker& worker)
    : GrpcPlace(worker),
      InferJob(worker.shared.service, worker.index, worker.shared.request_budget,
               static_cast<size_t>(worker.shared.limits.max_message_bytes)),
      worker_(worker) {}

void InferCall::OnArrived(bool ok) {
  if (!ok) return self_.reset();  // the server ends; gRPC does not tell of the call's end then
  if (!Enter()) return;
  Expect(worker_);
  if (worker_.shared.calls.load() > worker_.shared.limits.max_calls) {
    AddRetryHint(kRetrySoon, &context_);
    return Answer(ResourceExhausted("too many calls at a time; try again later"), {});
  }
  Start(bytes_, context_);
  bytes_.Clear();
}

void InferCall::Answer(const Status& status, const grpc::ByteBuffer& answer) {
  const grpc::Status wire = ToGrpcStatus(status);
  code_ = wire.error_code();
  if (status.ok() && !MetadataOf(context_, "verdict-timing").empty()) {
    context_.AddTrailingMetadata("server-timing", ServerTiming(answered().phases));
  }
  if (const std::string_view by = status.ok() ? answered().served_by : ""; !by.empty()) {
    context_.AddTrailingMetadata("verdict-served-by", std::string(by));
  }
  if (status.ok() && answered().route.route != nullptr) {
    if (answered().served_by.empty()) context_.AddTrailingMetadata("verdict-served-by", "cpu");
    for (const auto& [name, value] : FieldsOf(answered().route)) {
      context_.AddTrailingMetadata(name, value);
    }
  }
  AddRetryHint(retry_after(), &context_);
  if (const RequestTrace traced = trace(); traced.sampled) {
    const auto traceparent = traced.Traceparent();
    context_.AddTrailingMetadata("traceparent", {traceparent.data(), traceparent.size()});
  }
  if (status.ok()) {
    writer_.Finish(answer, wire, &finished_event_);
  } else {
    writer_.FinishWithError(wire, &finished_event_);
  }
}

void InferCall::OnFinished(bool) {
  finished_ = true;
  worker_.CountResponse(code_);
  ReleaseIfOver();
}

void InferCall::OnDone(bool) {
  done_ = true;
  if (entered() && !finished_ && context_.IsCancelled()) Cancel();
  ReleaseIfOver();
}

void InferCall::ReleaseIfOver() {
  if (done_ && (!entered() || finished_)) self_.reset();
}

}  // namespace verdict
