#include "serve/http/request_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <optional>
#include <string>

namespace verdict {
namespace {

using testing::HasSubstr;

/// Parses `text` in pieces of `step` bytes, as a connection does.
struct Parse {
  explicit Parse(const std::string& text, size_t step = SIZE_MAX, size_t max_body = 1000) {
    RequestParser parser(max_body, &head, &body);
    std::string waiting;
    for (size_t at = 0; at < text.size() && !parser.is_done() && code == 0;) {
      const size_t count = std::min(step, text.size() - at);
      waiting.append(text, at, count);
      at += count;
      for (bool more = true; more && !waiting.empty() && !parser.is_done();) {
        boost::system::error_code error;
        const size_t used = parser.put(boost::asio::buffer(waiting.data(), waiting.size()), error);
        waiting.erase(0, used);
        if (error && error != boost::beast::http::error::need_more) {
          const auto problem = parser.Describe(error);
          code = problem.code;
          message = problem.message;
        }
        more = !error;
      }
    }
    done = parser.is_done() && code == 0;
    if (done) keep_alive = parser.keep_alive();
    rest = waiting;
  }
  MemoryBudget budget{1 << 20};
  BodyBuffer body{budget};
  RequestHead head;
  bool done = false;
  bool keep_alive = false;
  int code = 0;
  std::string message;
  std::string rest;
};

TEST(RequestParser, ReadsWholeAndInPieces) {
  const std::string text =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
      "inference-header-content-length: 5\r\nContent-Encoding: gzip\r\nExpect: 100-Continue\r\n"
      "Content-Length: 11\r\n\r\nhello world";
  for (const size_t step : {size_t{1}, size_t{7}, SIZE_MAX}) {
    Parse parse(text, step);
    ASSERT_TRUE(parse.done) << parse.message;
    EXPECT_EQ(parse.head.method, Method::kPost);
    EXPECT_EQ(parse.head.target, "/v2/models/m/infer");
    EXPECT_EQ(parse.head.content_type, "application/json");
    EXPECT_EQ(parse.head.content_encoding, "gzip");
    EXPECT_TRUE(parse.head.has_inference_header_length);
    EXPECT_EQ(parse.head.inference_header_length, "5");
    EXPECT_TRUE(parse.head.expects_continue);
    EXPECT_FALSE(parse.head.http10);
    EXPECT_EQ(parse.body.text(), "hello world");
    EXPECT_TRUE(parse.keep_alive);
  }
}

TEST(RequestParser, TakesNoChunksInPieces) {
  const std::string text =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET";
  for (size_t step = 1; step <= text.size(); ++step) {
    Parse parse(text, step);
    ASSERT_TRUE(parse.done) << parse.message;
    EXPECT_EQ(parse.body.size(), 0U);
    EXPECT_EQ(parse.rest, std::string("GET").substr(0, parse.rest.size()));
  }
}

TEST(RequestParser, ChunksAreJoinedAndTrailersIgnored) {
  const std::string text =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nContent-Type: x\r\n\r\nGET";
  for (const size_t step : {size_t{1}, SIZE_MAX}) {
    Parse parse(text, step);
    ASSERT_TRUE(parse.done) << parse.message;
    EXPECT_EQ(parse.body.text(), "hello world");
    EXPECT_EQ(parse.head.content_type, "");
    if (step == SIZE_MAX) {
      EXPECT_EQ(parse.rest, "GET");
    }
  }
}

TEST(RequestParser, RawTensorsBeginAligned) {
  Parse parse(
      "POST / HTTP/1.1\r\nHost: h\r\nInference-Header-Content-Length: 5\r\nContent-Length: "
      "9\r\n\r\n"
      "hello1234");
  ASSERT_TRUE(parse.done);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(parse.body.text().data() + 5) % 64, 0u);
}

TEST(RequestParser, AlignedBodyWithoutBytesIsEmptyText) {
  Parse parse(
      "POST / HTTP/1.1\r\nHost: h\r\nInference-Header-Content-Length: 5\r\nTransfer-Encoding: "
      "chunked\r\n\r\n"
      "0\r\n\r\n");
  ASSERT_TRUE(parse.done) << parse.message;
  EXPECT_TRUE(parse.body.text().empty());
  EXPECT_EQ(parse.body.text().data(), nullptr) << "there is no memory to point into";
}

TEST(RequestParser, OldProtocolClosesUnlessAsked) {
  Parse closes("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(closes.head.http10);
  EXPECT_FALSE(closes.keep_alive);
  EXPECT_TRUE(Parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
  EXPECT_FALSE(Parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").keep_alive);
}

TEST(RequestParser, RefusalsSayWhy) {
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  struct Case {
    std::string text;
    int code;
    std::string message;
  };
  const Case cases[] = {
      {"nonsense\r\n\r\n", 400, "not a well-formed HTTP request"},
      {"GET / HTTP/2.0\r\n\r\n", 505, "HTTP/1.1"},
      {"GET /" + std::string(5000, 'a') + " HTTP/1.1\r\n\r\n", 414, "4096 bytes"},
      {"GET / HTTP/1.1\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n", 431, "16384 bytes"},
      {post + "Content-Length: 1001\r\n\r\n", 413, "1000 bytes"},
      {post + "Content-Length: 99999999999999999999\r\n\r\n", 400, "not a well-formed"},
      {post + "Content-Length: -1\r\n\r\n", 400, "not a well-formed"},
      {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "not a well-formed"},
      {post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "not a well-formed"},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400, "not a well-formed"},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "chunked"},
      {post + "Transfer-Encoding: gzip\r\n\r\n", 501, "chunked"},
      {post + "Transfer-Encoding: chunked\r\n\r\n3E9\r\n", 413, "1000 bytes"},
      {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "not a well-formed"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"},
      {"GET / HTTP/1.1\r\n\r\n", 400, "Host is missing"},
      {"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nHost: h\r\n\r\n", 400, "more than one Host"},
      {post + "Expect: tea\r\n\r\n", 417, "100-continue"},
      {post + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n", 415, "more than one"},
      {post + "Inference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 2\r\n\r\n",
       400, "given twice"},
  };
  for (const Case& c : cases) {
    Parse parse(c.text);
    EXPECT_EQ(parse.code, c.code) << c.text.substr(0, 80);
    EXPECT_THAT(parse.message, HasSubstr(c.message)) << c.text.substr(0, 80);
    EXPECT_FALSE(parse.done);
  }
}

TEST(RequestParser, BodiesOverTheBudgetAreUnavailableNotBad) {
  MemoryBudget budget(100);
  BodyBuffer body(budget);
  RequestHead head;
  RequestParser parser(20'000, &head, &body);
  const std::string text =
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'x');
  boost::system::error_code error;
  parser.put(boost::asio::buffer(text.data(), text.size()), error);
  ASSERT_TRUE(error);
  EXPECT_EQ(parser.Describe(error).code, 503);
}

}  // namespace
}  // namespace verdict
