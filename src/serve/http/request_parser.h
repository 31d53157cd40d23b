#pragma once

// Beast asserts that a last chunk seen again has five bytes, which fails where it is the only chunk
// and comes in pieces; the code behind is right. assert.hpp is made to be included several times.
#define BOOST_DISABLE_ASSERTS
#include <boost/assert.hpp>
#include <boost/beast/http/basic_parser.hpp>
#undef BOOST_DISABLE_ASSERTS
#include <boost/assert.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/http/message.h"

namespace verdict {

/// Largest request head, in bytes.
inline constexpr uint32_t kMaxHeadBytes = 16 << 10;

/// Reads one HTTP/1 request, Boost.Beast doing the grammar: only the fields that are used are kept,
/// and the body goes straight to its buffer.
class RequestParser : public boost::beast::http::basic_parser<true> {
 public:
  /// head, body: filled; emptied here.
  RequestParser(size_t max_body_bytes, RequestHead* head, BodyBuffer* body);

  /// HTTP's code for an error of put(), and what to tell the client.
  struct Problem {
    int code;
    std::string message;
  };
  Problem Describe(const boost::beast::error_code& error) const;

 private:
  using ErrorCode = boost::beast::error_code;
  using StringView = boost::beast::string_view;

  void on_request_impl(boost::beast::http::verb method, StringView method_text, StringView target,
                       int version, ErrorCode& error) override;
  void on_response_impl(int, StringView, int, ErrorCode&) override {}
  void on_field_impl(boost::beast::http::field name, StringView name_text, StringView value,
                     ErrorCode& error) override;
  void on_header_impl(ErrorCode& error) override;
  void on_body_init_impl(boost::optional<uint64_t> const& length, ErrorCode& error) override;
  size_t on_body_impl(StringView bytes, ErrorCode& error) override;
  void on_chunk_header_impl(uint64_t, StringView, ErrorCode&) override {}
  size_t on_chunk_body_impl(uint64_t remaining, StringView bytes, ErrorCode& error) override;
  void on_finish_impl(ErrorCode&) override {}

  /// A field whose name Boost.Beast does not know.
  void OnOwnField(StringView name, StringView value, ErrorCode& error);

  /// Ends the parse with that code.
  void Refuse(int code, std::string message, ErrorCode& error);

  size_t max_body_bytes_;
  RequestHead* head_;
  BodyBuffer* body_;
  Problem problem_{0, {}};
  bool has_host_ = false;
  bool head_done_ = false;  // later fields are trailers, and none of ours
};

}  // namespace verdict
