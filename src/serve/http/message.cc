#include "serve/http/message.h"

#include <charconv>
#include <system_error>

#include "serve/endpoints/json_text.h"
#include "serve/http/status_map.h"

namespace verdict {
namespace {

/// Memory that a response keeps for the next one.
constexpr size_t kKeepBytes = size_t{1} << 20;

void AppendNumber(std::string* out, size_t value) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof(digits), value);
  out->append(digits, result.ptr);
}

}  // namespace

void RequestHead::Clear() {
  method = Method::kOther;
  target.clear();
  content_type.clear();
  content_encoding.clear();
  accept_encoding.clear();
  authorization.clear();
  traceparent.clear();
  tracestate.clear();
  deadline_us.clear();
  envoy_timeout_ms.clear();
  timing.clear();
  inference_header_length.clear();
  has_inference_header_length = false;
  from_browser = false;
  expects_continue = false;
  http10 = false;
}

void HttpResponse::Clear() {
  code = 200;
  content_type = "application/json";
  if (body.capacity() > kKeepBytes) std::string().swap(body);  // "= {}" would keep its memory
  body.clear();
  inference_header_length.reset();
  allow = {};
  content_encoding = {};
  fields.clear();
  retry_after_s = 0;
  deferred = false;
}

std::optional<size_t> ParseLength(std::string_view text) {
  size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return value;
}

void WriteResponseHead(const HttpResponse& response, std::string_view date, bool keep_alive,
                       bool http10, std::string* out) {
  out->assign("HTTP/1.1 ");
  AppendNumber(out, static_cast<size_t>(response.code));
  out->push_back(' ');
  out->append(ReasonPhrase(response.code));
  out->append("\r\nDate: ");
  out->append(date);
  out->append("\r\nContent-Type: ");
  out->append(response.content_type);
  out->append("\r\nContent-Length: ");
  AppendNumber(out, response.body.size());
  if (response.inference_header_length.has_value()) {
    out->append("\r\nInference-Header-Content-Length: ");
    AppendNumber(out, *response.inference_header_length);
  }
  if (!response.content_encoding.empty()) {
    out->append("\r\nContent-Encoding: ");
    out->append(response.content_encoding);
    out->append("\r\nVary: Accept-Encoding");
  }
  if (!response.allow.empty()) {
    out->append("\r\nAllow: ");
    out->append(response.allow);
  }
  if (response.code == 401) out->append("\r\nWWW-Authenticate: Bearer");
  if (response.retry_after_s > 0) {
    out->append("\r\nRetry-After: ");
    AppendNumber(out, static_cast<size_t>(response.retry_after_s));
  }
  if (!keep_alive) {
    out->append("\r\nConnection: close");
  } else if (http10) {
    out->append("\r\nConnection: keep-alive");
  }
  out->append("\r\n");
  out->append(response.fields);
  out->append("\r\n");
}

void SetError(int code, std::string_view message, HttpResponse* response) {
  response->Clear();
  response->code = code;
  response->body = "{\"error\":";
  AppendJsonString(&response->body, message);
  response->body.push_back('}');
}

}  // namespace verdict
