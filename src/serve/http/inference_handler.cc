#include "serve/http/inference_handler.h"

#include <spdlog/spdlog.h>

#include <boost/beast/core/string.hpp>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/inference.h"
#include "serve/http/compress.h"
#include "serve/http/deadline.h"
#include "serve/http/inflate.h"
#include "serve/http/refusal.h"
#include "serve/http/status_map.h"

namespace verdict {
namespace {

bool SameText(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

/// What bodies may be called. curl's default for -d is taken for the JSON it is with other servers.
bool IsKnownContentType(std::string_view value) {
  std::string_view type = value.substr(0, value.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  for (const char* known : {"", "application/json", "application/octet-stream", "text/plain",
                            "application/x-www-form-urlencoded"}) {
    if (SameText(type, known)) return true;
  }
  return false;
}

/// The body of a POST as the endpoints take it; on refusal the response is set.
class BodyForm {
 public:
  BodyForm(const HttpRequest& request, size_t max_body_bytes)
      : request_(request), max_body_bytes_(max_body_bytes) {}

  /// Returns: false if it refused.
  bool Open(Call* call, HttpResponse* response) {
    const RequestHead& head = request_.head;
    if (!IsKnownContentType(head.content_type)) {
      SetError(415, "Content-Type must be application/json or application/octet-stream", response);
      return false;
    }
    std::optional<size_t> json_bytes;
    if (head.has_inference_header_length) {
      json_bytes = ParseLength(head.inference_header_length);
      if (!json_bytes.has_value()) {
        SetError(400, "Inference-Header-Content-Length must be a whole number", response);
        return false;
      }
    }
    std::string_view text = request_.body.text();
    const std::string_view encoding = head.content_encoding;
    if (!encoding.empty() && !SameText(encoding, "identity")) {
      if (!SameText(encoding, "gzip") && !SameText(encoding, "x-gzip") &&
          !SameText(encoding, "deflate")) {
        SetError(415, "Content-Encoding must be gzip, deflate or identity", response);
        return false;
      }
      request_.inflated.Start(json_bytes.value_or(0));
      // Without raw tensors all of it is JSON, which has a limit of its own.
      const bool is_json = !json_bytes && max_body_bytes_ > kMaxJsonBytes;
      const size_t most = is_json ? kMaxJsonBytes : max_body_bytes_;
      if (Status status = Inflate(text, most, &request_.inflated); !status.ok()) {
        if (is_json && status.code() == StatusCode::kOutOfRange) return RefuseLongJson(response);
        SetError(status.code() == StatusCode::kOutOfRange ? 413 : HttpCodeOf(status.code()),
                 status.message(), response);
        return false;
      }
      text = request_.inflated.text();
    }
    if (json_bytes.value_or(0) > text.size()) {
      SetError(400,
               "Inference-Header-Content-Length is " + std::to_string(*json_bytes) +
                   ", the body has " + std::to_string(text.size()) + " bytes",
               response);
      return false;
    }
    call->json = text.substr(0, json_bytes.value_or(text.size()));
    if (call->json.size() > kMaxJsonBytes) return RefuseLongJson(response);
    const std::string_view rest = text.substr(call->json.size());
    call->binary = std::as_bytes(std::span(rest.data(), rest.size()));
    return true;
  }

 private:
  static bool RefuseLongJson(HttpResponse* response) {
    SetError(413,
             "the JSON text is larger than the " + std::to_string(kMaxJsonBytes) +
                 " bytes that this server takes; send large tensors in the binary form",
             response);
    return false;
  }

  const HttpRequest& request_;
  size_t max_body_bytes_;
};

/// Compresses the answer if the client likes it so and it is worth the time. For inferences alone:
/// tritonclient's asyncio client asks for it with every call, and reads all others as they come.
void CompressBody(const RequestHead& head, HttpResponse* response) {
  constexpr size_t kLeastBytes = 256;
  if (head.accept_encoding.empty() || response->body.size() < kLeastBytes) return;
  const Coding coding = ChooseCoding(head.accept_encoding);
  if (coding == Coding::kNone || !Compress(coding, &response->body)) return;
  response->content_encoding = coding == Coding::kGzip ? "gzip" : "deflate";
}

/// What a path takes, as the field Allow says it; empty for a path that is not there.
std::string_view Allow(bool get, bool post) {
  return get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : post ? "POST" : "";
}

/// For the log: a query may hold what belongs into none.
std::string_view PathOf(const RequestHead& head) {
  const std::string_view target = head.target;
  return target.substr(0, target.find('?'));
}

/// Some such endpoints are open to strangers.
void RefuseBody(HttpResponse* response) { SetError(413, "this endpoint takes no body", response); }

bool Fits(Method method, Verb verb) {
  return verb == Verb::kGet ? method == Method::kGet || method == Method::kHead
                            : method == Method::kPost;
}

}  // namespace

/// Makes the HTTP response of what an endpoint has left.
void InferenceHandler::Answer(const RequestHead& head, const Status& status, Reply reply,
                              HttpResponse* response) {
  response->body = std::move(reply.body);  // its memory, even where it is not used
  FillAnswer(head, status, reply, response);
  if (!reply.trace.sampled) return;
  const auto traceparent = reply.trace.Traceparent();
  response->fields.append("traceparent: ").append(traceparent.data(), traceparent.size());
  response->fields.append("\r\n");
}

void InferenceHandler::FillAnswer(const RequestHead& head, const Status& status, const Reply& reply,
                                  HttpResponse* response) {
  if (!status.ok()) {
    const int code = HttpCodeOf(status.code());
    if (code == 500) LogServerError(head, status);
    // Without its message, which may quote what the request holds.
    spdlog::debug("{}: {} {}", PathOf(head), code, StatusCodeName(status.code()));
    SetError(code, status.message(), response);
    response->retry_after_s = RetryAfterSeconds(reply.retry_after);
    return;
  }
  if (reply.json_bytes.has_value()) {
    response->content_type = "application/octet-stream";
    response->inference_header_length = reply.json_bytes;
  }
  if (!reply.phases.has_value()) return;
  if (!reply.served_by.empty() || reply.route.route != nullptr) {
    response->fields = "Verdict-Served-By: ";
    response->fields += reply.served_by.empty() ? "cpu" : reply.served_by;
    response->fields += "\r\n";
  }
  if (reply.route.route != nullptr) {
    for (const auto& [name, value] : FieldsOf(reply.route)) {
      response->fields.append(name).append(": ").append(value).append("\r\n");
    }
  }
  if (!head.timing.empty()) {
    response->fields += "Server-Timing: " + ServerTiming(*reply.phases) + "\r\n";
  }
  CompressBody(head, response);
}

class InferenceHandler::Later : public Deferral {
 public:
  Later(InferenceHandler& handler, const RequestHead& head, Admission admission,
        MemoryBudget& budget, std::shared_ptr<HttpDeferral> http)
      : handler_(handler),
        head_(head),
        admission_(std::move(admission)),
        http_(std::move(http)),
        held_(budget) {}

  void Complete(const Status& status, Reply reply) override {
    HttpResponse response;
    try {
      handler_.Answer(head_, status, std::move(reply), &response);
    } catch (const std::exception&) {  // as Connection::Answer has it for answers at once
      SetError(503, "no memory to answer this request", &response);
    }
    admission_.ticket.Release();
    http_->Respond(std::move(response));
  }
  void OnCancel(std::function<void()> cancel) override { http_->OnCancel(std::move(cancel)); }
  bool Hold(size_t bytes) override { return bytes <= kFreeBodyBytes || held_.Take(bytes); }

 private:
  InferenceHandler& handler_;
  const RequestHead& head_;  // kept by http_
  Admission admission_;
  std::shared_ptr<HttpDeferral> http_;
  MemoryShare held_;  // as long as the connection's own
};

class InferenceHandler::Transport : public CallTransport {
 public:
  Transport(InferenceHandler& handler, HttpRequest& request, Admission* admission)
      : handler_(handler), request_(request), admission_(admission) {}
  std::shared_ptr<Deferral> Defer() override {
    return std::make_shared<Later>(handler_, request_.head, std::move(*admission_),
                                   request_.body.budget(), request_.Defer());
  }

 private:
  InferenceHandler& handler_;
  HttpRequest& request_;
  Admission* admission_;
};

InferenceHandler::InferenceHandler(Service& service, size_t max_body_bytes, ListenerKind listener)
    : service_(service), max_body_bytes_(max_body_bytes), listener_(listener) {
  for (int i = 0; i < service.workers(); ++i) {
    paths_.push_back(std::make_unique<TargetPath>());
  }
}

Caller InferenceHandler::CallerOf(const HttpRequest& request) const {
  return {.listener = listener_,
          .credentials = {request.head.authorization, request.peer.certificate_names},
          .address = request.peer.address,
          .from_browser = request.head.from_browser};
}

bool InferenceHandler::AdmitsBody(int worker, HttpRequest& request, HttpResponse* response) {
  Call call;
  const Endpoint* endpoint = FindEndpoint(worker, request.head, &call, response);
  if (endpoint == nullptr) return false;
  if (endpoint->verb == Verb::kGet) {
    RefuseBody(response);
    return false;
  }
  std::shared_ptr<const Principal> principal;
  const Refusal refusal = service_.gate().Identify(CallerOf(request), endpoint->role, &principal);
  if (!refusal.status.ok()) SetRefusal(refusal, response);
  return refusal.status.ok();
}

const Endpoint* InferenceHandler::FindEndpoint(int worker, const RequestHead& head, Call* call,
                                               HttpResponse* response) {
  TargetPath& path = *paths_[static_cast<size_t>(worker)];
  if (Status status = path.Parse(head.target); !status.ok()) {
    SetError(HttpCodeOf(status.code()), status.message(), response);
    return nullptr;
  }
  const Endpoint* endpoint = nullptr;
  bool takes_get = false, takes_post = false;
  for (const Endpoint& candidate : Endpoints()) {
    call->model = call->version = call->region = {};
    if (!path.Matches(candidate.path, &call->model, &call->version, &call->region)) continue;
    if (Fits(head.method, candidate.verb)) {
      endpoint = &candidate;
      break;
    }
    (candidate.verb == Verb::kGet ? takes_get : takes_post) = true;
  }
  const std::string_view allow = Allow(takes_get, takes_post);
  if (endpoint == nullptr && allow.empty()) {
    SetError(404, "there is no such endpoint", response);
  } else if (endpoint == nullptr) {
    SetError(405, "this endpoint takes " + std::string(allow), response);
    response->allow = allow;
  }
  return endpoint;
}

void InferenceHandler::Handle(int worker, HttpRequest& request, HttpResponse* response) {
  Call call;
  call.worker = worker;
  const Endpoint* endpoint = FindEndpoint(worker, request.head, &call, response);
  if (endpoint == nullptr) return;
  if (endpoint->verb == Verb::kGet && request.body.size() > 0) return RefuseBody(response);
  Admission admission;
  if (const Refusal refusal =
          service_.gate().Enter(CallerOf(request), endpoint->role, request.arrival, &admission);
      !refusal.status.ok()) {
    return SetRefusal(refusal, response);
  }
  BodyForm form(request, max_body_bytes_);
  if (endpoint->verb == Verb::kPost && !form.Open(&call, response)) return;

  Transport transport(*this, request, &admission);
  call.transport = &transport;
  call.arrival = request.arrival;
  const auto deadline = DeadlineOf(request.head, request.arrival);
  if (!deadline.ok()) return SetError(400, deadline.status().message(), response);
  call.deadline = service_.Deadline(request.arrival, *deadline);
  if (!request.head.traceparent.empty()) {
    call.trace = ParseTraceContext(request.head.traceparent, request.head.tracestate);
  }
  Reply reply;
  reply.body = std::move(response->body);  // its memory
  const Status status = endpoint->handle(service_, call, &reply);
  if (status.ok() && reply.deferred) {
    response->deferred = true;
    return;
  }
  Answer(request.head, status, std::move(reply), response);
}

/// At most one line a second: a client must not be able to fill the disk.
void InferenceHandler::LogServerError(const RequestHead& head, const Status& status) {
  const auto held_back = log_limit_.Pass();
  if (!held_back.has_value()) return;
  spdlog::error("{}: {} ({}:{}){}", PathOf(head), status.message(), status.place().file_name(),
                status.place().line(), MoreLikeIt(*held_back));
}

void InferenceHandler::Count(int worker, int code) {
  auto& responses = service_.metrics().http(worker).responses;
  responses[static_cast<size_t>(code)].Add(1);
}

void InferenceHandler::CountConnection(int worker, bool opened) {
  HttpMetrics& metrics = service_.metrics().http(worker);
  (opened ? metrics.connections_opened : metrics.connections_closed).Add(1);
}

void InferenceHandler::CountRefused() { service_.metrics().CountRefusedConnection(); }

}  // namespace verdict
