#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "serve/grpc/generic_call.h"
#include "serve/memory_budget.h"

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
  struct Unread {
    explicit Unread(MemoryBudget& budget) : share(budget) {}
    grpc::ByteBuffer bytes;
    size_t size = 0;
    MemoryShare share;  // of the size, where it has to wait
  };

  // All with mutex_ held.
  void Keep(StreamJob& job, const grpc::ByteBuffer& answer);
  void WriteNext();
  void DropAnswers();
  void FinishIfOver();
  bool ReadAgain();

  GenericCall& call_;
  std::mutex mutex_;  // guards what follows: answers come from other threads too
  std::map<StreamJob*, std::weak_ptr<StreamJob>> under_way_;  // requests without an answer yet
  std::deque<Unread> answers_;  // that the client has not read yet; the first is being written
  size_t unread_bytes_ = 0;     // in them
  bool reading_ = true;
  bool writing_ = false;
  bool half_closed_ = false;  // the client sends nothing more
  bool broken_ = false;       // nobody hears the answers
  bool stopping_ = false;     // the server ends
  bool finished_ = false;
};

}  // namespace verdict
