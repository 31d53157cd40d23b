#include "serve/http/connection.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>
#include <exception>
#include <utility>

#include "base/terminal_text.h"
#include "serve/admission/limiter.h"

namespace verdict {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kLingerTime{1000};
/// Most bytes that may wait for the parser to make sense of them: a head, or a chunk's header.
constexpr size_t kMaxUnparsed = kMaxHeadBytes + 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

Stream MakeStream(const TlsContext* tls, tcp::socket socket) {
  return tls == nullptr ? Stream(std::move(socket)) : Stream(std::move(socket), tls->Current());
}

/// What names the client of a connection: its address without the port.
std::string AddressOf(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint endpoint = socket.remote_endpoint(error);
  return error ? std::string() : ClientAddress(endpoint.address().to_string());
}

/// At most one line a second of that sort: a client must not be able to fill the disk.
bool MayLog() {
  static std::atomic<int64_t> next_s{0};
  const int64_t now_s =
      std::chrono::duration_cast<std::chrono::seconds>(Worker::Clock::now().time_since_epoch())
          .count();
  int64_t next = next_s.load(std::memory_order_relaxed);
  return now_s >= next && next_s.compare_exchange_strong(next, now_s + 1);
}

/// Empties the string and frees its memory, which an assignment would keep.
void Free(std::string* text) { std::string().swap(*text); }

}  // namespace

/// Holds the connection, and with it the request's memory, until the answer is on the worker's
/// thread again.
class Connection::Deferral : public HttpDeferral {
 public:
  explicit Deferral(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  void Respond(HttpResponse response) override {
    Worker& worker = connection_->worker_;
    asio::post(worker.context,
               [connection = std::move(connection_), response = std::move(response)]() mutable {
                 connection->OnDeferred(std::move(response));
               });
  }
  void OnCancel(std::function<void()> cancel) override { connection_->cancel_ = std::move(cancel); }

 private:
  std::shared_ptr<Connection> connection_;
};

class Connection::Request : public HttpRequest {
 public:
  explicit Request(Connection& connection)
      : HttpRequest(connection.peer_, connection.head_, connection.body_, connection.inflated_),
        connection_(connection) {
    arrival = connection.request_start_;
  }
  std::shared_ptr<HttpDeferral> Defer() override {
    return std::make_shared<Deferral>(connection_.shared_from_this());
  }

 private:
  Connection& connection_;
};

Connection::Connection(Worker& worker, tcp::socket socket)
    : worker_(worker),
      stream_(MakeStream(worker.shared.tls.get(), std::move(socket))),
      body_(worker.shared.body_budget),
      inflated_(worker.shared.body_budget) {
  worker_.load.fetch_add(1, std::memory_order_relaxed);
  worker_.shared.connections.fetch_add(1, std::memory_order_relaxed);
}

Connection::~Connection() {
  DropPending();
  worker_.load.fetch_sub(1, std::memory_order_relaxed);
  worker_.shared.connections.fetch_sub(1, std::memory_order_relaxed);
}

void Connection::Adopt() {
  error_code ignored;
  stream_.socket().non_blocking(true, ignored);
  stream_.socket().set_option(tcp::no_delay(true), ignored);
  Worker::Connections& list = worker_.connections[timeout_];
  place_ = list.insert(list.end(), shared_from_this());
  worker_.shared.handler.CountConnection(worker_.index, true);
}

void Connection::Start() {
  Adopt();
  peer_.address = AddressOf(stream_.socket());
  if (!stream_.is_tls()) return BeginRequests();
  Enter(State::kHandshaking);
  ContinueHandshake();
}

void Connection::ContinueHandshake() {
  if (state_ != State::kHandshaking) return;
  const Worker::Clock::time_point start = Worker::Clock::now();
  if (!worker_.handshakes.Allows(start)) {
    worker_.postponed.push_back(shared_from_this());
    if (worker_.postponed.size() == 1) worker_.ScheduleHandshakes();
    return;
  }
  error_code error;
  stream_.Handshake(error);
  worker_.handshakes.Spend(Worker::Clock::now() - start);
  if (error == asio::error::would_block) {
    return stream_.WaitHandshake([self = shared_from_this()](const error_code& failed) {
      if (failed) return self->Close();
      self->ContinueHandshake();
    });
  }
  worker_.shared.tls->CountHandshake(!error);
  if (error) {
    if (MayLog()) {
      spdlog::warn("no TLS with {}: {}", peer_.address,
                   TerminalText(stream_.reason().empty() ? error.message() : stream_.reason()));
    }
    return Close();
  }
  peer_.certificate_names = stream_.ClientNames();
  BeginRequests();
}

void Connection::BeginRequests() {
  NextRequest();
  WaitToRead();
}

void Connection::Refuse() {
  Adopt();
  worker_.shared.handler.CountRefused();
  if (stream_.is_tls()) return Close();  // a handshake only to say so costs more than it is worth
  Fail(503, "too many connections; try again later");
  if (state_ == State::kLingering) WaitToRead();
}

void Connection::Enter(State state) {
  state_ = state;
  const HttpLimits& limits = worker_.shared.limits;
  const Worker::Timeout timeout = state == State::kReading       ? Worker::kRead
                                  : state == State::kLingering   ? Worker::kLinger
                                  : state == State::kComputing   ? Worker::kNone
                                  : state == State::kHandshaking ? Worker::kHandshake
                                                                 : Worker::kIdle;
  const Worker::Clock::time_point now = Worker::Clock::now();
  if (state == State::kReading) request_start_ = now;
  deadline_ = timeout == Worker::kNone
                  ? Worker::Clock::time_point::max()
                  : now + (timeout == Worker::kRead        ? limits.read_timeout
                           : timeout == Worker::kLinger    ? kLingerTime
                           : timeout == Worker::kHandshake ? limits.handshake_timeout
                                                           : limits.idle_timeout);
  Worker::Connections& list = worker_.connections[timeout];
  list.splice(list.end(), worker_.connections[std::exchange(timeout_, timeout)], place_);
}

void Connection::NextRequest() {
  parser_.emplace(worker_.shared.limits.max_body_bytes, &head_, &body_);
  head_bytes_ = 0;
  body_admitted_ = false;
  continued_ = false;
  Enter(State::kIdle);
}

void Connection::WaitToRead() {
  if (std::exchange(waiting_, true)) return;
  stream_.WaitRead([self = shared_from_this()](const error_code& error) {
    self->waiting_ = false;
    if (self->state_ == State::kClosed) return;
    if (error) return self->Close();
    self->OnReadable();
  });
}

void Connection::OnReadable() {
  if (state_ == State::kComputing) return OnReadableWhileComputing();
  if (state_ == State::kWriting) return;  // it is read when that is done
  error_code error;
  const size_t count = stream_.ReadSome(asio::buffer(worker_.read_buffer), error);
  if (error == asio::error::would_block || error == asio::error::try_again) return WaitToRead();
  if (error) return Close();  // the client has closed, or died
  if (state_ != State::kLingering) Consume({worker_.read_buffer.data(), count});
  if (state_ != State::kWriting && state_ != State::kClosed) WaitToRead();
}

void Connection::OnReadableWhileComputing() {
  error_code error;
  stream_.Peek(error);
  if (error == asio::error::would_block || error == asio::error::try_again) return WaitToRead();
  if (error) return Close();
  // The next request, which waits: that the client goes away now shows when it is read.
}

void Connection::Consume(std::string_view bytes) {
  std::string joined;
  if (!unparsed_.empty()) {
    joined = std::move(unparsed_);
    joined.append(bytes);
    bytes = joined;
  }
  while (ConsumeSome(&bytes)) {
  }
  if (state_ == State::kLingering || state_ == State::kClosed) {
    Free(&unparsed_);
  } else {
    unparsed_.assign(bytes);
  }
}

bool Connection::ConsumeSome(std::string_view* bytes) {
  if (bytes->empty()) return false;
  if (state_ == State::kIdle) Enter(State::kReading);
  if (state_ != State::kReading) return false;
  error_code error;
  const size_t used = parser_->put(asio::buffer(bytes->data(), bytes->size()), error);
  bytes->remove_prefix(used);
  if (error == boost::beast::http::error::need_more && !parser_->is_header_done()) {
    // The parser itself counts no fields that it has taken already.
    head_bytes_ += used;
    if (head_bytes_ + bytes->size() > kMaxHeadBytes) {
      error = boost::beast::http::error::header_limit;
    }
  }
  if (error && error != boost::beast::http::error::need_more) {
    const RequestParser::Problem problem = parser_->Describe(error);
    Fail(problem.code, problem.message);
    return false;
  }
  if (parser_->is_done()) {
    Answer();
    return true;
  }
  if (bytes->size() > kMaxUnparsed) {
    Fail(400, "not a well-formed HTTP request: a chunk's header or trailer is too long");
    return false;
  }
  if (!parser_->is_header_done()) return !error;
  if (!std::exchange(body_admitted_, true) && !AdmitBody()) return false;
  if (head_.expects_continue && !std::exchange(continued_, true)) {
    // A few bytes on a connection that waits for them: they fit its send buffer.
    error_code ignored;
    const std::array<asio::const_buffer, 1> bytes_to_send = {asio::buffer(kContinue)};
    if (stream_.WriteSome(bytes_to_send, ignored) != kContinue.size()) {
      Close();
      return false;
    }
  }
  return !error;
}

bool Connection::AdmitBody() {
  worker_.response.Clear();
  Request request(*this);
  try {
    if (worker_.shared.handler.AdmitsBody(worker_.index, request, &worker_.response)) return true;
  } catch (const std::exception&) {
    SetError(503, "no memory to answer this request", &worker_.response);
  }
  Send(false);
  return false;
}

void Connection::Answer() {
  HttpResponse& response = worker_.response;
  response.Clear();
  Request request(*this);
  try {
    worker_.shared.handler.Handle(worker_.index, request, &response);
  } catch (const std::exception&) {  // no memory for the response: this request fails, not all
    SetError(503, "no memory to answer this request", &response);
  }
  if (response.deferred) return Enter(State::kComputing);
  cancel_ = nullptr;  // of a deferral that came to nothing
  Send(parser_->keep_alive());
}

void Connection::OnDeferred(HttpResponse response) {
  if (state_ == State::kClosed) return;
  cancel_ = nullptr;
  worker_.response = std::move(response);
  Send(parser_->keep_alive());
  GoOn();
}

void Connection::GoOn() {
  if (state_ == State::kIdle) Consume({});  // what came behind the request that was answered
  if (state_ == State::kWriting || state_ == State::kClosed || state_ == State::kComputing) return;
  WaitToRead();
}

void Connection::Fail(int code, std::string_view message) {
  SetError(code, message, &worker_.response);
  Send(false);
}

void Connection::Send(bool keep_alive) {
  HttpResponse& response = worker_.response;
  keep_alive_ = keep_alive && !worker_.shared.draining.load(std::memory_order_relaxed);
  WriteResponseHead(response, worker_.date, keep_alive_, head_.http10, &worker_.response_head);
  worker_.shared.handler.Count(worker_.index, response.code);
  if (head_.method == Method::kHead) response.body.clear();
  body_.Reset();
  inflated_.Reset();

  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(worker_.response_head),
                                                     asio::buffer(response.body)};
  error_code error;
  const size_t sent = stream_.WriteSome(buffers, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) {
    return Close();
  }
  if (sent == worker_.response_head.size() + response.body.size()) return OnSent();
  // What a client leaves unread counts against the same budget as what it sends. Saying 503 is out
  // of the question: the answer may have begun.
  const size_t bytes = response.body.capacity();
  if (!worker_.shared.body_budget.Take(bytes)) return Close();
  pending_bytes_ = bytes;
  pending_head_ = worker_.response_head;
  pending_body_ = std::move(response.body);
  write_start_ = Worker::Clock::now();
  Enter(State::kWriting);
  SendRest(sent);
}

void Connection::SendRest(size_t sent) {
  stream_.WaitWrite([self = shared_from_this(), sent](const error_code& error) {
    if (self->state_ == State::kClosed) return;
    if (error) return self->Close();
    self->OnWritable(sent);
  });
}

void Connection::OnWritable(size_t sent) {
  const size_t head_sent = std::min(sent, pending_head_.size());
  const std::array<asio::const_buffer, 2> buffers = {
      asio::buffer(pending_head_) + head_sent, asio::buffer(pending_body_) + (sent - head_sent)};
  error_code error;
  const size_t count = stream_.WriteSome(buffers, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) {
    return Close();
  }
  sent += count;
  if (sent < pending_head_.size() + pending_body_.size()) {
    if (ReadsTooSlowly(sent)) return Close();
    if (count > 0) Enter(State::kWriting);  // a client that reads on has its time anew
    return SendRest(sent);
  }
  DropPending();
  OnSent();
  GoOn();
}

/// Slower than that it would hold the memory of its answer for hours.
bool Connection::ReadsTooSlowly(size_t sent) const {
  constexpr size_t kLeastBytesPerSecond = size_t{64} << 10;
  const auto time = worker_.shared.limits.idle_timeout +
                    std::chrono::milliseconds(sent * 1000 / kLeastBytesPerSecond);
  return Worker::Clock::now() - write_start_ > time;
}

void Connection::DropPending() {
  Free(&pending_head_);
  Free(&pending_body_);
  worker_.shared.body_budget.Return(std::exchange(pending_bytes_, 0));
}

void Connection::OnSent() {
  if (keep_alive_) return NextRequest();
  Linger();
}

void Connection::Linger() {
  // Closing with unread bytes would reset the connection and could take the response away from the
  // client: say that nothing more comes, and read on for a moment.
  error_code error;
  stream_.ShutdownSend(error);
  if (error) return Close();
  Enter(State::kLingering);
}

void Connection::OnTimeout() {
  if (state_ != State::kReading) return Close();
  Fail(408, "the request did not arrive in time");
}

void Connection::CloseIfIdle() {
  if (state_ == State::kHandshaking) return Close();
  if (state_ != State::kIdle) return;
  // A request may have come in that nobody has looked at yet: it is answered.
  error_code error;
  const size_t count = stream_.ReadSome(asio::buffer(worker_.read_buffer), error);
  if (error || count == 0) return Close();
  Consume({worker_.read_buffer.data(), count});
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  error_code ignored;
  if (state_ == State::kHandshaking) {
    if (deadline_ <= Worker::Clock::now()) worker_.shared.tls->CountHandshake(false);
  } else if (state_ == State::kIdle && stream_.is_tls()) {
    stream_.ShutdownSend(ignored);  // so that the client knows that nothing was cut off
  }
  state_ = State::kClosed;
  if (cancel_) std::exchange(cancel_, nullptr)();
  stream_.socket().close(ignored);
  worker_.shared.handler.CountConnection(worker_.index, false);
  const auto self = shared_from_this();  // the list's may be the last
  worker_.connections[timeout_].erase(place_);
}

}  // namespace verdict
