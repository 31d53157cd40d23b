#include "serve/http/request_parser.h"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/system/error_code.hpp>
#include <utility>

namespace verdict {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr size_t kMaxTargetBytes = 4096;

/// Keeps the value of a field that may be given once. A second, different one makes the request
/// ambiguous: two readers of it could take different ones.
bool Keep(beast::string_view value, bool already, std::string* out) {
  if (already) return beast::string_view(*out) == value;
  out->assign(value.data(), value.size());
  return true;
}

}  // namespace

RequestParser::RequestParser(size_t max_body_bytes, RequestHead* head, BodyBuffer* body)
    : max_body_bytes_(max_body_bytes), head_(head), body_(body) {
  header_limit(kMaxHeadBytes);
  body_limit(max_body_bytes);
  eager(true);
  head_->Clear();
  body_->Reset();
}

void RequestParser::Refuse(int code, std::string message, ErrorCode& error) {
  problem_ = {code, std::move(message)};
  error = boost::system::errc::make_error_code(boost::system::errc::operation_not_permitted);
}

RequestParser::Problem RequestParser::Describe(const ErrorCode& error) const {
  if (problem_.code != 0) return problem_;
  if (error == http::error::body_limit) {
    return {413, "the body is larger than the " + std::to_string(max_body_bytes_) +
                     " bytes that this server takes"};
  }
  if (error == http::error::header_limit) {
    return {431,
            "the head of the request is larger than " + std::to_string(kMaxHeadBytes) + " bytes"};
  }
  if (error == http::error::bad_version) return {505, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
  return {400, "not a well-formed HTTP request: " + error.message()};
}

void RequestParser::on_request_impl(http::verb method, StringView, StringView target, int version,
                                    ErrorCode& error) {
  head_->http10 = version == 10;
  head_->method = method == http::verb::get    ? Method::kGet
                  : method == http::verb::head ? Method::kHead
                  : method == http::verb::post ? Method::kPost
                                               : Method::kOther;
  if (target.size() > kMaxTargetBytes) {
    return Refuse(414,
                  "the request target is longer than " + std::to_string(kMaxTargetBytes) + " bytes",
                  error);
  }
  head_->target.assign(target.data(), target.size());
}

void RequestParser::on_field_impl(http::field name, StringView name_text, StringView value,
                                  ErrorCode& error) {
  if (head_done_) return;
  switch (name) {
    case http::field::content_type:
      head_->content_type.assign(value.data(), value.size());
      return;
    case http::field::content_encoding:
      if (!head_->content_encoding.empty()) {
        return Refuse(415, "more than one Content-Encoding", error);
      }
      head_->content_encoding.assign(value.data(), value.size());
      return;
    case http::field::accept_encoding:
      // Given twice, it is one list.
      if (!head_->accept_encoding.empty()) head_->accept_encoding.push_back(',');
      head_->accept_encoding.append(value.data(), value.size());
      return;
    case http::field::authorization:
      if (!Keep(value, !head_->authorization.empty(), &head_->authorization)) {
        return Refuse(400, "Authorization is given twice, with two values", error);
      }
      return;
    case http::field::host:
      if (std::exchange(has_host_, true)) return Refuse(400, "more than one Host", error);
      return;
    case http::field::origin:
      head_->from_browser = true;
      return;
    case http::field::transfer_encoding:
      if (!beast::iequals(value, "chunked")) {
        return Refuse(501, "the only Transfer-Encoding taken here is chunked", error);
      }
      return;
    case http::field::expect:
      if (!beast::iequals(value, "100-continue")) {
        return Refuse(417, "the only expectation met here is 100-continue", error);
      }
      head_->expects_continue = true;
      return;
    case http::field::unknown:
      return OnOwnField(name_text, value, error);
    default:
      return;
  }
}

void RequestParser::OnOwnField(StringView name, StringView value, ErrorCode& error) {
  struct OwnField {
    const char* name;
    std::string RequestHead::*value;
  };
  static constexpr OwnField kOwnFields[] = {
      {"Inference-Header-Content-Length", &RequestHead::inference_header_length},
      {"Verdict-Deadline-Us", &RequestHead::deadline_us},
      {"Verdict-Timing", &RequestHead::timing},
      {"x-envoy-expected-rq-timeout-ms", &RequestHead::envoy_timeout_ms},
  };
  if (beast::iequals(name, "Sec-Fetch-Site")) {
    head_->from_browser = true;
    return;
  }
  // A trace never costs a request its answer: two parents are none, two states are one list.
  for (std::string* list : {&head_->traceparent, &head_->tracestate}) {
    if (!beast::iequals(name, list == &head_->traceparent ? "traceparent" : "tracestate")) continue;
    if (!list->empty()) list->push_back(',');
    list->append(value.data(), value.size());
    return;
  }
  for (const OwnField& field : kOwnFields) {
    if (!beast::iequals(name, field.name)) continue;
    const bool is_length = field.value == &RequestHead::inference_header_length;
    std::string& kept = head_->*field.value;
    if (!Keep(value, is_length ? head_->has_inference_header_length : !kept.empty(), &kept)) {
      return Refuse(400, std::string(field.name) + " is given twice, with two values", error);
    }
    if (is_length) head_->has_inference_header_length = true;
    return;
  }
}

/// What RFC 9112 has refused (3.2, 6.1): another reader on the way may understand it otherwise.
void RequestParser::on_header_impl(ErrorCode& error) {
  head_done_ = true;
  if (!head_->http10 && !has_host_) return Refuse(400, "the field Host is missing", error);
  if (head_->http10 && chunked()) {
    return Refuse(400, "HTTP/1.0 has no Transfer-Encoding", error);
  }
}

void RequestParser::on_body_init_impl(boost::optional<uint64_t> const& length, ErrorCode&) {
  // A compressed body is moved to where it belongs when it is decompressed.
  const bool binary = head_->has_inference_header_length && head_->content_encoding.empty();
  body_->Start(binary ? ParseLength(head_->inference_header_length).value_or(0) : 0,
               length.value_or(0));
}

size_t RequestParser::on_body_impl(StringView bytes, ErrorCode& error) {
  if (!body_->Append({bytes.data(), bytes.size()})) {
    Refuse(503, "too many requests and responses are held at this moment; try again", error);
  }
  return bytes.size();
}

size_t RequestParser::on_chunk_body_impl(uint64_t, StringView bytes, ErrorCode& error) {
  return on_body_impl(bytes, error);
}

}  // namespace verdict
