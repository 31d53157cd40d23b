#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "serve/grpc/generic_call.h"

namespace verdict {

class StreamJob;

/// ModelStreamInfer: many requests at a time, an answer to each; an error of one is told in its
/// answer and the stream goes on.
class InferStream final : public GrpcHandler {
 public:
  explicit InferStream(GenericCall& call) : call_(call) {}

  void OnStart() override { call_.Read(); }
  void OnRead(bool ok, const grpc::ByteBuffer& bytes) override;
  void OnWritten(bool ok) override;
  void OnTick() override;
  void OnDone() override;

  /// The answer to one request. Threads: any.
  void Deliver(StreamJob& job, const grpc::ByteBuffer& answer);

 private:
  // All with mutex_ held.
  void WriteNext();
  void FinishIfOver();
  bool ReadAgain();

  GenericCall& call_;
  std::mutex mutex_;  // guards what follows: answers come from other threads too
  std::map<StreamJob*, std::weak_ptr<StreamJob>> under_way_;  // requests without an answer yet
  std::deque<grpc::ByteBuffer> answers_;
  bool reading_ = true;
  bool writing_ = false;
  bool half_closed_ = false;  // the client sends nothing more
  bool broken_ = false;       // nobody hears the answers
  bool stopping_ = false;     // the server ends
  bool finished_ = false;
};

}  // namespace verdict
