#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference.pb.h"
#include "serve/batching/job.h"
#include "serve/endpoints/infer.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/service.h"
#include "serve/grpc/infer_answer.h"

namespace verdict {

/// One inference request over gRPC, from its bytes to the bytes of its answer, whichever kind of
/// call brought it. Holds all of the request's memory.
class InferJob : public Job {
 public:
  /// The id that the client gave; empty until the request is read, or if it gave none.
  const std::string& id() const { return message_->id(); }

  /// The end of a run. Threads: the worker's own, or one of the scheduler's.
  void Finish(const Status& status, std::span<const TensorView> outputs,
              const Times& times) override;

 protected:
  InferJob(Service& service, int worker);

  /// Reads the request and sees to its being run; Answer is called within, or later.
  ///
  /// until: the call's deadline; nothing is executed after it.
  void Start(const grpc::ByteBuffer& bytes, Clock::time_point until);

  /// The answer, or an error and nothing. Once, on the threads of Finish.
  virtual void Answer(const Status& status, const grpc::ByteBuffer& answer) = 0;

 private:
  virtual bool is_stream() const = 0;
  Status Read(const grpc::ByteBuffer& bytes);
  void Run();
  void Fail(const Status& status);

  Service& service_;
  const int worker_;
  const LoadedModel* model_ = nullptr;  // null until the request names one that is loaded
  InferMoments moments_;
  // Most messages fit in the block, so that parsing takes no memory from the heap.
  std::array<char, 3072> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
  inference::ModelInferRequest* message_;
  std::vector<TensorBuffer> buffers_;
  InferRequest request_;
};

/// A call's deadline on the clock of jobs.
Job::Clock::time_point ToJobDeadline(std::chrono::system_clock::time_point deadline);

}  // namespace verdict
