#pragma once

#include <deque>
#include <string>
#include <vector>

#include "tools/load/byte_stream.h"
#include "tools/load/response_reader.h"
#include "tools/load/worker.h"

namespace verdict::load {

/// Sends ready-made HTTP/1.1 requests over keep-alive connections, one at a time on each. One epoll
/// loop; a request costs one send and one receive. A connection that fails is made again, after a
/// pause where the server refuses it.
class HttpWorker : public Worker {
 public:
  /// endpoint, requests (at least one) and recorder must outlive the worker. Request i of the run
  /// is requests[i % size]; they have room for a deadline if the options have one.
  HttpWorker(const Endpoint& endpoint, const std::vector<std::string>& requests,
             const WorkerOptions& options, Pacer pacer, Recorder& recorder);
  ~HttpWorker() override;

  Status Connect() override;
  void Run(SteadyClock::time_point start, const std::atomic<bool>& stop) override;

 private:
  enum class State : uint8_t { kDown, kConnecting, kIdle, kBusy };

  struct Connection {
    ByteStream stream;
    ResponseReader reader;
    std::string_view unsent;  // of `first`, or of the request itself
    std::string_view unsent_rest;
    std::string first;  // the beginning of a request with a deadline of its own
    RequestTimes times;
    int64_t retry_ns = 0;  // when kDown: when to try again
    State state = State::kDown;
    bool answered = false;     // since it was made
    bool half_closed = false;  // the server has ended its direction: no request after this one
  };

  int64_t Now() const;
  /// Waits for events until wake_ns and handles them.
  void Wait(int64_t wake_ns);
  void Open(uint32_t index);
  /// Goes on connecting, as far as `outcome` allows.
  void OnConnecting(uint32_t index, ByteStream::Outcome outcome);
  void OnEvent(uint32_t index, uint32_t events);
  void Send(uint32_t index, const Pacer::Due& due, int64_t now_ns);
  void WriteRest(uint32_t index);
  void ReadAnswers(uint32_t index);
  /// Records the end of a request and lets the connection go on with the next one.
  void Complete(uint32_t index);
  /// Ends a connection, and its request as `ending`; makes it again.
  void Drop(uint32_t index, int ending, std::string_view text);
  void SendDue(int64_t now_ns);
  /// Time limits, and connections to make again.
  void Sweep(int64_t now_ns);
  void GiveUp(int64_t now_ns);

  const Endpoint& endpoint_;
  const std::vector<std::string>& requests_;
  const WorkerOptions options_;
  Pacer pacer_;
  Recorder& recorder_;
  SteadyClock::time_point start_ = SteadyClock::now();
  int epoll_ = -1;
  std::vector<Connection> connections_;
  std::deque<uint32_t> idle_;  // longest idle first; may name some that are idle no more
  std::vector<char> buffer_;
  int64_t last_alive_ns_ = 0;
  bool running_ = false;
  std::string connect_error_;
  size_t deadline_offset_ = 0;  // in each request
};

}  // namespace verdict::load
