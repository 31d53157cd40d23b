#pragma once

#include <google/protobuf/arena.h>
#include <grpc/support/time.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "inference.pb.h"
#include "serve/admission/gate.h"
#include "serve/batching/job.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/inference.h"
#include "serve/endpoints/service.h"
#include "serve/grpc/infer_answer.h"
#include "serve/memory_budget.h"
#include "serve/routing/rescuer.h"

namespace verdict {

/// One inference request over gRPC, from its bytes to the bytes of its answer, whichever kind of
/// call brought it. Holds all of the request's memory.
class InferJob : public Job {
 public:
  /// The id that the client gave; empty until the request is read, or if it gave none.
  const std::string& id() const { return message_->id(); }
  /// Memory of the message as read.
  size_t message_bytes() const { return message_->SpaceUsedLong(); }

  /// The end of a queued run. Threads: the scheduler's.
  void Finish(const Status& status, std::span<const TensorView> outputs,
              const Times& times) override;

  /// The client has gone: takes the request out of its queue and answers kCancelled, unless its run
  /// has begun. Threads: the worker's own.
  void Cancel();

 protected:
  /// budget: of the memory that requests hold; must outlive the job.
  /// max_message_bytes: of the request, once inflated.
  InferJob(Service& service, int worker, MemoryBudget& budget, size_t max_message_bytes);

  /// Reads the request and sees to its being run; Answer is called within, or later.
  ///
  /// context: of the call that brings it.
  void Start(const grpc::ByteBuffer& bytes, const grpc::ServerContextBase& context);

  /// The answer, or an error and nothing. Once; on the worker's thread, or one of the scheduler's.
  virtual void Answer(const Status& status, const grpc::ByteBuffer& answer) = 0;

  /// Of a refused request: when it may do better; 0: no hint.
  std::chrono::milliseconds retry_after() const { return retry_after_; }
  /// As the client is told of it.
  const RequestTrace& trace() const { return trace_; }
  /// Of an answered request.
  struct Answered {
    std::string_view served_by;  // LoadedModel::ServedBy, or "last_resort"
    Phases phases;               // where the time went
    RouteAnswer route;           // of one on a route
  };
  const Answered& answered() const { return answered_; }

 private:
  virtual bool is_stream() const = 0;
  virtual std::shared_ptr<Job> self() = 0;
  Status Read(const grpc::ByteBuffer& bytes, const grpc::ServerContextBase& context);
  Status ReadBytes(const grpc::ByteBuffer& bytes);
  Status Parse(const grpc::ByteBuffer& bytes);
  /// What the request is for: a model, or a route.
  Status Find(const grpc::ServerContextBase& context);
  Status ReadFor(const LoadedModel& model);
  Status Run(const RouteWalk::Step* step);
  Status RunOnRoute();
  Status AnswerLastResort(const RouteWalk::Step& step);
  void FinishRouted(const Status& status, std::span<const TensorView> outputs, int slot);
  InferAnswerForm form() const;
  void Deliver(const Status& status, std::span<const TensorView> outputs, int slot);
  void End(const Status& status, const grpc::ByteBuffer& answer, int slot);

  /// The rescuer's side of a request on a route: its second reading and its answer.
  class Routed final : public RoutedRequest {
   public:
    Routed(InferJob& job, const RouteWalk& walk, const RouteWalk::Step& in_flight)
        : RoutedRequest(walk, in_flight), job_(job) {}
    Result<const InferRequest*> Read(std::span<const TensorSpec> inputs,
                                     std::span<const TensorSpec> outputs) override;
    RequestTrace trace() const override { return job_.trace_; }
    void Answer(const RouteAnswer& answer, const InferenceRecord* record,
                const InferRequest& request, std::span<const TensorSpec> specs,
                std::span<const TensorView> results) override;
    void Refuse(const Status& status) override { job_.Conclude(status, {}); }

   private:
    InferJob& job_;
    std::vector<TensorBuffer> buffers_;
    InferRequest request_;
  };
  void Conclude(const Status& status, const grpc::ByteBuffer& answer);

  Service& service_;
  const int worker_;
  RequestTrace trace_;
  Answered answered_;
  const Route* route_ = nullptr;  // null: the request is for a model
  std::optional<RouteWalk> walk_;
  bool admitted_ = false;               // by its priority: asked once
  std::optional<Routed> routed_;        // once another thread sees to it
  const LoadedModel* model_ = nullptr;  // null until the request names one that is loaded
  std::shared_ptr<const LoadedModel> queued_model_;  // the same, while another thread works on it
  Admission admission_;
  MemoryBudget& budget_;
  MemoryShare memory_;  // of what the message takes, where that is much
  const size_t max_message_bytes_;
  Clock::time_point begin_;
  std::chrono::milliseconds retry_after_{0};
  std::optional<InferenceRecord> record_;  // once there is a model
  // Most messages fit in the block, so that parsing takes no memory from the heap.
  std::array<char, 3072> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
  inference::ModelInferRequest* message_;
  std::vector<TensorBuffer> buffers_;
  InferRequest request_;
};

/// A call's deadline on the clock of jobs.
Job::Clock::time_point ToJobDeadline(gpr_timespec deadline);

}  // namespace verdict
