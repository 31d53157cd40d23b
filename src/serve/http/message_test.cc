#include "serve/http/message.h"

#include <gtest/gtest.h>

#include "serve/http/status_map.h"

namespace verdict {
namespace {

TEST(ResponseHead, HoldsWhatTheResponseNeedsAndNoMore) {
  HttpResponse response;
  response.body = "{}";
  std::string head;
  WriteResponseHead(response, "D", true, false, &head);
  EXPECT_EQ(head,
            "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Type: application/json\r\nContent-Length: "
            "2\r\n\r\n");
  response.code = 405;
  response.allow = "POST";
  response.inference_header_length = 7;
  WriteResponseHead(response, "D", false, true, &head);
  EXPECT_EQ(head,
            "HTTP/1.1 405 Method Not Allowed\r\nDate: D\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\nInference-Header-Content-Length: 7\r\nAllow: POST\r\n"
            "Connection: close\r\n\r\n");
}

TEST(ResponseHead, OldClientsAreToldThatTheConnectionStays) {
  std::string head;
  WriteResponseHead({}, "D", true, true, &head);
  EXPECT_NE(head.find("Connection: keep-alive\r\n"), std::string::npos);
}

TEST(ErrorResponse, IsJsonWhateverTheMessage) {
  HttpResponse response;
  response.allow = "POST";
  SetError(400, "a \"quote\"\n", &response);
  EXPECT_EQ(response.code, 400);
  EXPECT_EQ(response.body, "{\"error\":\"a \\\"quote\\\"\\u000a\"}");
  EXPECT_TRUE(response.allow.empty());
}

TEST(ParseLength, TakesPlainNumbersOnly) {
  EXPECT_EQ(ParseLength("0"), 0u);
  EXPECT_EQ(ParseLength("99999999999"), 99999999999u);
  for (const char* bad :
       {"", "-1", "+1", " 1", "1 ", "1.0", "0x10", "a", "1e3", "99999999999999999999999"}) {
    EXPECT_FALSE(ParseLength(bad).has_value()) << bad;
  }
}

TEST(StatusMap, EveryCodeHasOneThatClientsUnderstand) {
  struct Row {
    StatusCode code;
    int http;
  };
  const Row rows[] = {
      {StatusCode::kOk, 200},
      {StatusCode::kCancelled, 499},
      {StatusCode::kUnknown, 500},
      {StatusCode::kInvalidArgument, 400},
      {StatusCode::kDeadlineExceeded, 504},
      {StatusCode::kNotFound, 404},
      {StatusCode::kAlreadyExists, 409},
      {StatusCode::kPermissionDenied, 403},
      {StatusCode::kResourceExhausted, 503},
      {StatusCode::kFailedPrecondition, 400},
      {StatusCode::kAborted, 409},
      {StatusCode::kOutOfRange, 400},
      {StatusCode::kUnimplemented, 501},
      {StatusCode::kInternal, 500},
      {StatusCode::kUnavailable, 503},
      {StatusCode::kDataLoss, 500},
      {StatusCode::kUnauthenticated, 401},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(HttpCodeOf(row.code), row.http) << StatusCodeName(row.code);
    EXPECT_NE(ReasonPhrase(row.http), "Unknown") << row.http;
  }
}

TEST(HttpResponse, ClearFreesALargeBody) {
  HttpResponse response;
  response.body.assign(size_t{8} << 20, 'x');
  response.Clear();
  EXPECT_TRUE(response.body.empty());
  EXPECT_LE(response.body.capacity(), size_t{1} << 20);
}

}  // namespace
}  // namespace verdict
