#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>

#include <memory>

#include "serve/grpc/infer_job.h"
#include "serve/grpc/worker.h"

namespace verdict {

/// One call of ModelInfer. Keeps itself until gRPC has handed back all of its operations. Its
/// events belong to the worker's thread.
class InferCall final : private GrpcPlace,
                        public InferJob,
                        public std::enable_shared_from_this<InferCall> {
 public:
  /// Makes the call that the next client will get.
  static void Expect(GrpcWorker& worker);

  explicit InferCall(GrpcWorker& worker);

 private:
  void OnArrived(bool ok);
  void OnDone(bool ok);
  void OnFinished(bool ok);
  void Answer(const Status& status, const grpc::ByteBuffer& answer) override;
  bool is_stream() const override { return false; }
  std::shared_ptr<Job> self() override { return shared_from_this(); }
  void ReleaseIfOver();

  GrpcWorker& worker_;
  grpc::ServerContext context_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> writer_{&context_};
  grpc::ByteBuffer bytes_;
  grpc::StatusCode code_ = grpc::OK;
  bool done_ = false;
  bool finished_ = false;
  std::shared_ptr<InferCall> self_;
  GrpcEventOf<InferCall, &InferCall::OnArrived> arrived_event_{this};
  GrpcEventOf<InferCall, &InferCall::OnDone> done_event_{this};
  GrpcEventOf<InferCall, &InferCall::OnFinished> finished_event_{this};
};

}  // namespace verdict
