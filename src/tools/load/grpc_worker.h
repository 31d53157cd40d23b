#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tools/load/grpc_target.h"
#include "tools/load/worker.h"

namespace verdict::load {

/// Sends ready-made ModelInfer calls, or messages on ModelStreamInfer streams, one at a time on
/// each stream and each message answered once. A second thread takes the completions: gRPC's own
/// wait rounds to milliseconds, too coarse for the times of sending.
class GrpcWorker : public Worker {
 public:
  /// target, requests (at least one) and recorder must outlive the worker. Request i of the run is
  /// requests[i % size]. A deadline is that of the unary call, and a message's "timeout".
  GrpcWorker(const GrpcTarget& target, const std::vector<grpc::ByteBuffer>& requests, bool stream,
             const WorkerOptions& options, Pacer pacer, Recorder& recorder);
  ~GrpcWorker() override;

  Status Connect() override;
  void Run(SteadyClock::time_point start, const std::atomic<bool>& stop) override;

 private:
  enum class Step : uintptr_t { kStart, kWrite, kRead, kFinish };
  static constexpr uintptr_t kSteps = 4;

  /// Room for one request in flight.
  struct Slot {
    std::optional<grpc::ClientContext> context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> call;  // unary
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
    grpc::ByteBuffer response;
    grpc::Status status;
    RequestTimes times;
    int64_t retry_ns = Arrivals::kEnd;  // when to try again where the server cannot be reached
    bool busy = false;
    bool writing = false;      // a write has not completed
    bool read_failed = false;  // the stream has ended, and its last write has not completed
    bool opening = false;
    bool finishing = false;
    bool timed_out = false;
    bool given_up = false;
    bool answered = false;  // the stream has carried an answer
  };

  int64_t Now() const;
  grpc::GenericStub& StubOf(uint32_t index) { return stubs_[index % stubs_.size()]; }
  void* TagOf(uint32_t index, Step step) const {
    return reinterpret_cast<void*>(index * kSteps + static_cast<uintptr_t>(step));
  }
  // All below are called with mutex_ held.
  void OpenStream(uint32_t index);
  void Send(uint32_t index, const Pacer::Due& due, int64_t now_ns);
  void OnStep(uint32_t index, Step step, bool ok);
  void FinishStream(uint32_t index);
  void OnFinished(uint32_t index);
  /// Records the request of the slot, if it has one.
  void Complete(uint32_t index, int ending, std::string_view text);
  /// The slot may carry another request.
  void Free(uint32_t index, int64_t now_ns);
  void SendDue(int64_t now_ns);
  void Sweep(int64_t now_ns);

  void TakeCompletions();
  void GiveUp();

  const GrpcTarget& target_;
  const std::vector<grpc::ByteBuffer>& requests_;
  const bool is_stream_;
  const WorkerOptions options_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<grpc::GenericStub> stubs_;  // one a channel
  grpc::CompletionQueue queue_;
  SteadyClock::time_point start_ = SteadyClock::now();

  std::mutex mutex_;
  Pacer pacer_;
  Recorder& recorder_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::deque<uint32_t> idle_;
  std::condition_variable slot_free_;  // idle_ is not empty any more
  int64_t last_alive_ns_ = 0;          // when a channel was last seen connected
  int open_ = 0;                       // calls and streams that have not finished
  bool ending_ = false;                // nothing is opened any more
};

}  // namespace verdict::load
