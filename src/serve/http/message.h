#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/body_buffer.h"

namespace verdict {

enum class Method { kGet, kHead, kPost, kOther };

/// What is read of a request's head. Strings keep their memory from request to request.
struct RequestHead {
  Method method = Method::kOther;
  std::string target;
  std::string content_type;
  std::string content_encoding;
  std::string accept_encoding;
  std::string traceparent;
  std::string tracestate;
  std::string deadline_us;              // Verdict-Deadline-Us
  std::string envoy_timeout_ms;         // x-envoy-expected-rq-timeout-ms
  std::string timing;                   // Verdict-Timing
  std::string inference_header_length;  // Inference-Header-Content-Length
  bool has_inference_header_length = false;
  std::string authorization;  // a secret: never in a log or a message
  bool from_browser = false;  // a script of a web page sent it
  bool expects_continue = false;
  bool http10 = false;

  void Clear();
};

struct HttpResponse {
  int code = 200;
  std::string_view content_type = "application/json";
  std::string body;
  std::optional<size_t> inference_header_length;
  std::string_view allow;             // for 405
  std::string_view content_encoding;  // of the body; empty: as it is
  std::string fields;                 // further header fields, each "Name: value\r\n"
  int64_t retry_after_s = 0;          // 0: says nothing of it
  bool deferred = false;              // the answer comes later; nothing else here matters

  void Clear();
};

/// Where an answer that comes later goes.
class HttpDeferral {
 public:
  virtual ~HttpDeferral() = default;
  /// The answer; may be missing if the client has gone. Threads: any. At most once.
  virtual void Respond(HttpResponse response) = 0;
  /// `cancel` is called on the worker's thread if the client goes away before the answer is there.
  /// Threads: the worker's.
  virtual void OnCancel(std::function<void()> cancel) = 0;
};

/// Who is at the other end of a connection.
struct HttpPeer {
  std::string address;                         // as ClientAddress writes it
  std::vector<std::string> certificate_names;  // that TLS has verified
};

/// A request as a handler gets it; valid during the call, and after it until the answer where the
/// handler defers it.
class HttpRequest {
 public:
  HttpRequest(const HttpPeer& the_peer, const RequestHead& the_head, BodyBuffer& the_body,
              BodyBuffer& the_inflated)
      : peer(the_peer), head(the_head), body(the_body), inflated(the_inflated) {}
  virtual ~HttpRequest() = default;

  /// To be called at most once, together with setting HttpResponse::deferred. What it returns keeps
  /// the request's memory.
  virtual std::shared_ptr<HttpDeferral> Defer() = 0;

  const HttpPeer& peer;
  const RequestHead& head;
  BodyBuffer& body;
  BodyBuffer& inflated;                           // for the decompressed body
  std::chrono::steady_clock::time_point arrival;  // of its first byte
};

/// The length that Inference-Header-Content-Length says, or nothing if it is not a plain number.
std::optional<size_t> ParseLength(std::string_view text);

/// Writes status line and header fields of `response` to *out.
///
/// date: the Date field's value.
/// keep_alive: whether the connection stays open; `http10` whether the client speaks HTTP/1.0.
void WriteResponseHead(const HttpResponse& response, std::string_view date, bool keep_alive,
                       bool http10, std::string* out);

/// {"error": "message"}
void SetError(int code, std::string_view message, HttpResponse* response);

/// Answers requests. One object serves all workers at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Whether the body of a request may come, of which only the head is there: nobody sends us
  /// megabytes before we know who it is. Else `response`, which comes empty, says why. Small
  /// requests arrive whole, and go to Handle at once.
  virtual bool AdmitsBody(int, HttpRequest&, HttpResponse*) { return true; }
  /// worker: the thread that calls, in [0, workers). `response` comes empty.
  virtual void Handle(int worker, HttpRequest& request, HttpResponse* response) = 0;
  /// A response with that code has been made, by the handler or on its behalf.
  virtual void Count(int worker, int code) = 0;
  virtual void CountConnection(int worker, bool opened) = 0;
  virtual void CountRefused() = 0;
};

}  // namespace verdict
