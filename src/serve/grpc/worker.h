#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>

#include "inference.grpc.pb.h"
#include "serve/endpoints/service.h"
#include "serve/memory_budget.h"

namespace verdict {

class GenericCall;

/// Limits of the gRPC server; all are > 0.
struct GrpcLimits {
  int max_message_bytes = 64 << 20;
  int max_concurrent_streams = 1024;     // calls at a time on one connection
  size_t max_requests_per_stream = 256;  // under way, or with answers that wait for the client
  int64_t max_calls = 16'384;            // on all connections; more are told kResourceExhausted
  /// What gRPC itself holds for all connections, and as much again for requests that are read and
  /// wait for their answers, and for a stream's answers that wait to be read; more are told
  /// kResourceExhausted.
  size_t max_memory_bytes = size_t{1} << 30;
  bool reflection = true;  // tells clients the messages of all methods
};

/// The inference service with one method of its own, ModelInfer, whose messages stay bytes. All
/// others come as generic calls.
class RawInferenceService : public inference::GRPCInferenceService::WithRawMethod_ModelInfer<
                                inference::GRPCInferenceService::Service> {
 public:
  RawInferenceService();
};

/// What all threads of the gRPC server share.
struct GrpcShared {
  GrpcShared(Service& the_service, const GrpcLimits& the_limits)
      : service(the_service), limits(the_limits), request_budget(the_limits.max_memory_bytes) {}
  Service& service;
  const GrpcLimits limits;
  MemoryBudget request_budget;
  RawInferenceService inference;
  grpc::AsyncGenericService generic;
  std::atomic<int64_t> calls{0};  // that have arrived and still exist
  std::atomic<bool> stopping{false};
};

/// An operation's end, as a completion queue hands it back.
class GrpcEvent {
 public:
  virtual void OnEvent(bool ok) = 0;

 protected:
  ~GrpcEvent() = default;
};

/// Calls one method of its owner.
template <typename Owner, void (Owner::*kMethod)(bool)>
class GrpcEventOf final : public GrpcEvent {
 public:
  explicit GrpcEventOf(Owner* owner) : owner_(owner) {}
  void OnEvent(bool ok) override { (owner_->*kMethod)(ok); }

 private:
  Owner* owner_;
};

/// One thread with its completion queue, and the calls that arrive there. Everything but `shared`
/// belongs to that thread.
class GrpcWorker {
 public:
  /// index: its number among all workers of the service.
  GrpcWorker(int index, GrpcShared& shared, std::unique_ptr<grpc::ServerCompletionQueue> queue);

  /// Takes calls until the queue is shut down. Called on the worker's own thread.
  void Run();
  /// Ends Run, if no call of this worker exists any more, nor any of its requests that a thread of
  /// the scheduler may still hold. Returns: false if some do. Threads: any; after the server's
  /// shutdown.
  bool TryClose();

  /// Makes the calls that the next clients will get.
  void ExpectFirstCalls();
  /// Begins an operation outside of any call, unless the queue is closed. Returns: whether it is
  /// open.
  template <typename Begin>
  bool IfOpen(Begin begin) {
    std::lock_guard lock(mutex_);
    if (!closed_) begin();
    return !closed_;
  }
  /// Counts a call that has arrived; while it is counted, the queue stays open. Returns: false if
  /// it is closed, so that nothing can be done about the call.
  bool Enter();
  void Leave();

  void CountResponse(grpc::StatusCode code);

  const int index;
  GrpcShared& shared;
  grpc::ServerCompletionQueue* queue() { return queue_.get(); }

  std::list<GenericCall*> generic_calls;

 private:
  void OnTick(bool ok);

  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::mutex mutex_;   // guards calls_ and closed_, and that no operation begins once closed
  int64_t calls_ = 0;  // between Enter and Leave
  bool closed_ = false;
  grpc::Alarm alarm_;
  GrpcEventOf<GrpcWorker, &GrpcWorker::OnTick> tick_{this};
};

/// Keeps a worker's queue open. The first base of a call, so that it goes last: whichever thread
/// lets go of the call last, the server outlives all of it.
class GrpcPlace {
 public:
  explicit GrpcPlace(GrpcWorker& worker) : worker_(worker) {}
  ~GrpcPlace() {
    if (entered_) worker_.Leave();
  }
  GrpcPlace(const GrpcPlace&) = delete;
  GrpcPlace& operator=(const GrpcPlace&) = delete;

  /// As GrpcWorker::Enter. Once.
  bool Enter() { return entered_ = worker_.Enter(); }
  bool entered() const { return entered_; }

 private:
  GrpcWorker& worker_;
  bool entered_ = false;
};

}  // namespace verdict
