#include "serve/grpc/generic_call.h"

#include "serve/grpc/admission.h"
#include "serve/grpc/status_map.h"

namespace verdict {

void GenericCall::Expect(GrpcWorker& worker) {
  auto call = std::make_shared<GenericCall>(worker);
  call->context_.AsyncNotifyWhenDone(&call->done_event_);
  worker.IfOpen([&] {
    call->self_ = call;
    worker.shared.generic.RequestCall(&call->context_, &call->stream_, worker.queue(),
                                      worker.queue(), &call->arrived_event_);
  });
}

void GenericCall::OnArrived(bool ok) {
  if (!ok) return self_.reset();  // the server ends; gRPC does not tell of the call's end then
  if (!Enter()) return;
  Expect(worker_);
  place_ = worker_.generic_calls.insert(worker_.generic_calls.end(), this);
  const bool welcome = worker_.shared.calls.load() <= worker_.shared.limits.max_calls;
  handler_ =
      welcome ? MakeGrpcHandler(*this, context_.method())
              : MakeRefusal(*this, ResourceExhausted("too many calls at a time; try again later"),
                            kRetrySoon);
  handler_->OnStart();
}

void GenericCall::Read() {
  reading_ = true;
  stream_.Read(&bytes_, &read_event_);
}

void GenericCall::OnRead(bool ok) {
  reading_ = false;
  grpc::ByteBuffer bytes;  // not kept while the call goes on
  bytes.Swap(&bytes_);
  handler_->OnRead(ok, bytes);
  ReleaseIfOver();
}

void GenericCall::Write(const grpc::ByteBuffer& bytes) {
  writing_.store(true);
  stream_.Write(bytes, &written_event_);
}

void GenericCall::OnWritten(bool ok) {
  writing_.store(false);
  handler_->OnWritten(ok);
  ReleaseIfOver();
}

void GenericCall::Finish(const Status& status, std::chrono::milliseconds retry_after) {
  AddRetryHint(retry_after, &context_);
  const grpc::Status wire = ToGrpcStatus(status);
  code_ = wire.error_code();
  stream_.Finish(wire, &finished_event_);
}

void GenericCall::WriteAndFinish(const grpc::ByteBuffer& bytes) {
  stream_.WriteAndFinish(bytes, grpc::WriteOptions(), grpc::Status::OK, &finished_event_);
}

void GenericCall::OnFinished(bool) {
  finished_ = true;
  worker_.CountResponse(code_);
  ReleaseIfOver();
}

void GenericCall::OnDone(bool) {
  done_ = true;
  if (!entered()) return self_.reset();
  handler_->OnDone();
  ReleaseIfOver();
}

void GenericCall::ReleaseIfOver() {
  if (!done_ || !finished_ || reading_ || writing_.load() || self_ == nullptr) return;
  worker_.generic_calls.erase(place_);
  self_.reset();
}

}  // namespace verdict
