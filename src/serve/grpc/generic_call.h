#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <list>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "serve/grpc/worker.h"

namespace verdict {

/// What one kind of call does. All but the destructor is called on the worker's thread.
class GrpcHandler {
 public:
  virtual ~GrpcHandler() = default;
  virtual void OnStart() = 0;
  /// The end of GenericCall::Read. ok: false where the client sends nothing more, or has gone.
  virtual void OnRead(bool ok, const grpc::ByteBuffer& bytes) = 0;
  /// The end of GenericCall::Write. ok: false where the client has gone.
  virtual void OnWritten(bool /*ok*/) {}
  /// A few times a second.
  virtual void OnTick() {}
  /// The client has gone, the deadline has passed, or all is said. The handler still has to finish
  /// the call if it has not.
  virtual void OnDone() {}
};

/// A call of any method but ModelInfer. Keeps itself until gRPC has handed back all of its
/// operations; its events belong to the worker's thread.
class GenericCall final : private GrpcPlace, public std::enable_shared_from_this<GenericCall> {
 public:
  /// Makes the call that the next client will get.
  static void Expect(GrpcWorker& worker);

  explicit GenericCall(GrpcWorker& worker) : GrpcPlace(worker), worker_(worker) {}

  GrpcWorker& worker() { return worker_; }
  const grpc::GenericServerContext& context() const { return context_; }

  // What handlers do with it: one Read and one Write at a time, nothing after a Finish.
  void Read();
  /// Threads: any.
  void Write(const grpc::ByteBuffer& bytes);
  /// retry_after: when it may do better, 0: no hint. Threads: any.
  void Finish(const Status& status, std::chrono::milliseconds retry_after = {});
  /// The only answer, and the end. Threads: any.
  void WriteAndFinish(const grpc::ByteBuffer& bytes);

  void OnTick() { handler_->OnTick(); }

 private:
  void OnArrived(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);
  void ReleaseIfOver();

  GrpcWorker& worker_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer bytes_;
  grpc::StatusCode code_ = grpc::OK;
  std::unique_ptr<GrpcHandler> handler_;
  std::list<GenericCall*>::iterator place_;
  bool reading_ = false;
  std::atomic<bool> writing_{false};
  bool done_ = false;
  bool finished_ = false;
  std::shared_ptr<GenericCall> self_;
  GrpcEventOf<GenericCall, &GenericCall::OnArrived> arrived_event_{this};
  GrpcEventOf<GenericCall, &GenericCall::OnRead> read_event_{this};
  GrpcEventOf<GenericCall, &GenericCall::OnWritten> written_event_{this};
  GrpcEventOf<GenericCall, &GenericCall::OnFinished> finished_event_{this};
  GrpcEventOf<GenericCall, &GenericCall::OnDone> done_event_{this};
};

/// Answers with an error. retry_after: as GenericCall::Finish.
std::unique_ptr<GrpcHandler> MakeRefusal(GenericCall& call, Status status,
                                         std::chrono::milliseconds retry_after = {});

/// The handler of a method, by its full name: "/inference.GRPCInferenceService/ServerLive".
std::unique_ptr<GrpcHandler> MakeGrpcHandler(GenericCall& call, std::string_view method);

}  // namespace verdict
