#include "serve/grpc/worker.h"

#include <utility>

#include "serve/grpc/generic_call.h"
#include "serve/grpc/infer_call.h"

namespace verdict {
namespace {

/// How soon what has changed is told to those who watch, and models that nobody serves are let go.
constexpr std::chrono::milliseconds kTick{100};
/// Calls that can arrive before the thread has looked at the first; the rest waits inside gRPC.
constexpr int kExpectedInferCalls = 32;
constexpr int kExpectedGenericCalls = 8;

}  // namespace

RawInferenceService::RawInferenceService() {
  const auto* service = inference::ModelInferRequest::descriptor()->file()->service(0);
  for (int i = 0; i < service->method_count(); ++i) {
    if (service->method(i)->name() != "ModelInfer") MarkMethodGeneric(i);
  }
}

GrpcWorker::GrpcWorker(int the_index, GrpcShared& the_shared,
                       std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : index(the_index), shared(the_shared), queue_(std::move(queue)) {}

void GrpcWorker::ExpectFirstCalls() {
  for (int i = 0; i < kExpectedInferCalls; ++i) InferCall::Expect(*this);
  for (int i = 0; i < kExpectedGenericCalls; ++i) GenericCall::Expect(*this);
}

void GrpcWorker::Run() {
  OnTick(true);
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<GrpcEvent*>(tag)->OnEvent(ok);
}

void GrpcWorker::OnTick(bool ok) {
  if (!ok) return;
  shared.service.models().ForWorker(index);
  // A call may end within its turn, others stay where they are.
  for (auto next = generic_calls.begin(); next != generic_calls.end();) (*next++)->OnTick();
  IfOpen([this] { alarm_.Set(queue_.get(), std::chrono::system_clock::now() + kTick, &tick_); });
}

bool GrpcWorker::Enter() {
  return IfOpen([this] {
    ++calls_;
    shared.calls.fetch_add(1);
  });
}

void GrpcWorker::Leave() {
  std::lock_guard lock(mutex_);
  --calls_;
  shared.calls.fetch_sub(1);
}

bool GrpcWorker::TryClose() {
  std::lock_guard lock(mutex_);
  if (calls_ > 0) return false;
  if (!closed_) {
    queue_->Shutdown();
    alarm_.Cancel();  // gRPC's timers follow the time of day: set back, the tick would come late
  }
  closed_ = true;
  return true;
}

void GrpcWorker::CountResponse(grpc::StatusCode code) {
  shared.service.metrics().grpc(index).responses[static_cast<size_t>(code)].Add(1);
}

}  // namespace verdict
