#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/http/message.h"
#include "serve/tls/handshake_budget.h"
#include "serve/tls/tls_context.h"

namespace verdict {

class Connection;

/// Limits of an HTTP server; all are > 0.
struct HttpLimits {
  size_t max_body_bytes = size_t{64} << 20;  // of which kMaxJsonBytes may be JSON text
  // Of all connections, unread responses and queued tensors too; each connection has kFreeBodyBytes
  // outside of it.
  size_t max_held_body_bytes = size_t{1} << 30;
  int max_connections = 16384;
  std::chrono::milliseconds idle_timeout{60'000};  // between requests, and while a response stalls
  std::chrono::milliseconds read_timeout{30'000};  // from a request's first byte to its last
  std::chrono::milliseconds handshake_timeout{10'000};  // of TLS
};

/// What all threads of an HTTP server share.
struct HttpShared {
  HttpShared(const HttpLimits& the_limits, HttpHandler& the_handler,
             std::shared_ptr<TlsContext> the_tls)
      : limits(the_limits),
        handler(the_handler),
        tls(std::move(the_tls)),
        body_budget(the_limits.max_held_body_bytes) {}
  const HttpLimits limits;
  HttpHandler& handler;
  const std::shared_ptr<TlsContext> tls;  // null: plain HTTP
  MemoryBudget body_budget;
  std::atomic<int> connections{0};
  /// Every response closes its connection.
  std::atomic<bool> draining{false};
};

/// One I/O thread's event loop, and the connections it serves. Everything but `load` and `context`
/// belongs to that thread.
class Worker {
 public:
  using Clock = std::chrono::steady_clock;

  Worker(int index, HttpShared& shared);
  ~Worker();

  /// Runs until Stop. Called on the worker's own thread.
  void Run();

  /// Closes connections on which no request has begun; others close with their response. Posts to
  /// the worker's thread.
  void CloseIdle();
  /// Closes everything and ends Run. Posts to the worker's thread.
  void Stop();

  int index;
  HttpShared& shared;
  std::atomic<int> load{0};  // connections
  boost::asio::io_context context{1};

  /// The Date field's value, refreshed with every tick.
  std::string date;

  /// All connections read through this one buffer; what is left of an unfinished head is kept by
  /// the connection. An idle connection so holds next to no memory.
  std::array<char, 64 << 10> read_buffer;
  HttpResponse response;
  std::string response_head;

  /// All connections, by the kind of timeout they are under; the lists keep them alive. A kind's
  /// timeouts are all of one length, so each list is in order of deadline.
  enum Timeout { kIdle, kRead, kLinger, kNone, kHandshake };
  using Connections = std::list<std::shared_ptr<Connection>>;
  std::array<Connections, 5> connections;

  HandshakeBudget handshakes;
  /// Connections whose handshakes wait until there is time for them; each once.
  std::vector<std::shared_ptr<Connection>> postponed;
  void ScheduleHandshakes();

 private:
  void Tick();
  std::vector<std::shared_ptr<Connection>> AllConnections() const;
  void ResumeHandshakes();
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer handshake_timer_;
};

}  // namespace verdict
