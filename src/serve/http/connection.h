#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/http/request_parser.h"
#include "serve/http/worker.h"
#include "serve/tls/stream.h"

namespace verdict {

/// One client's connection: reads requests one after another, has them answered on the worker's
/// thread, and writes the responses in order. Belongs to its worker's thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Worker& worker, boost::asio::ip::tcp::socket socket);
  ~Connection();

  /// Begins to serve; the worker's set keeps the connection alive until it closes.
  void Start();
  /// The next step of TLS's handshake, when there is time for it.
  void ContinueHandshake();
  /// Says 503 and closes: there are too many connections.
  void Refuse();

  Worker::Clock::time_point deadline() const { return deadline_; }
  void OnTimeout();
  void CloseIfIdle();
  void Close();

 private:
  class Request;
  class Deferral;
  enum class State {
    kHandshaking,  // TLS is not agreed on yet
    kIdle,         // between requests
    kReading,      // some of a request is here
    kComputing,    // a request's answer comes later, the next request must wait
    kWriting,      // a response is on its way, the next request must wait
    kLingering,    // everything is sent; what still comes in is thrown away until the client closes
    kClosed,
  };

  /// Puts it under the worker's care.
  void Adopt();
  void Enter(State state);
  /// The connection can carry requests.
  void BeginRequests();
  void NextRequest();
  void WaitToRead();
  void OnReadable();
  /// Takes the bytes as far as requests are complete and keeps the rest for later.
  void Consume(std::string_view bytes);
  /// One step of Consume: true if it should go on with what is left of `bytes`.
  bool ConsumeSome(std::string_view* bytes);
  /// Whether the body of the request may come, of which the head is here; else it is refused.
  bool AdmitBody();
  /// Answers the request that has been read, or leaves it to a deferral.
  void Answer();
  /// While a request computes: finds out whether the client has gone.
  void OnReadableWhileComputing();
  /// A deferral's answer is here.
  void OnDeferred(HttpResponse response);
  /// Goes on with what came behind a request that was answered after its handler returned.
  void GoOn();
  /// Answers with an error after which the connection cannot go on.
  void Fail(int code, std::string_view message);
  /// Sends the worker's response; goes on with the next request, or lingers, once it is sent.
  void Send(bool keep_alive);
  void SendRest(size_t sent);
  void OnWritable(size_t sent);
  /// True if so many bytes took too long since write_start_.
  bool ReadsTooSlowly(size_t sent) const;
  /// Lets go of the response that was pending, and gives its memory back to the budget.
  void DropPending();
  void OnSent();
  void Linger();

  Worker& worker_;
  Stream stream_;
  HttpPeer peer_;
  State state_ = State::kIdle;
  Worker::Timeout timeout_ = Worker::kIdle;
  Worker::Connections::iterator place_;  // in the worker's list of that timeout
  Worker::Clock::time_point deadline_;
  BodyBuffer body_;
  BodyBuffer inflated_;
  RequestHead head_;
  Worker::Clock::time_point request_start_;
  std::function<void()>
      cancel_;  // while computing: tells whom it concerns that the client has gone

  std::optional<RequestParser> parser_;
  size_t head_bytes_ = 0;  // of the current request's head, so far
  bool body_admitted_ = false;
  bool continued_ = false;
  bool keep_alive_ = false;
  bool waiting_ = false;      // for the socket to become readable
  std::string unparsed_;      // received, not yet taken by the parser
  std::string pending_head_;  // of a response that did not fit the socket's buffer at once
  std::string pending_body_;
  Worker::Clock::time_point write_start_;
  size_t pending_bytes_ = 0;  // what pending_body_ took from the budget
};

}  // namespace verdict
