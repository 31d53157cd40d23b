#include "tools/load/target_url.h"

#include <gtest/gtest.h>

namespace verdict::load {
namespace {

TEST(ParseUrl, TakesHostAndPort) {
  struct Case {
    const char* text;
    const char* host;
    uint16_t port;
    bool tls;
  };
  for (const Case& c : {Case{"localhost", "localhost", 8000, false}, Case{"h:1", "h", 1, false},
                        Case{"http://10.0.0.1:65535/", "10.0.0.1", 65535, false},
                        Case{"https://scores.example", "scores.example", 8000, true},
                        Case{"[::1]:9", "::1", 9, false}, Case{"[::1]", "::1", 8000, false}}) {
    const auto url = ParseUrl(c.text, 8000);
    ASSERT_TRUE(url.ok()) << c.text;
    EXPECT_EQ(url->host, c.host);
    EXPECT_EQ(url->port, c.port);
    EXPECT_EQ(url->tls, c.tls);
  }
}

TEST(ParseUrl, RefusesWhatIsNoAddress) {
  for (const char* text : {"", ":80", "h:", "h:0", "h:65536", "h:80x", "h:-1", "ftp://h", "h/v2",
                           "http://h/v2/models", "u@h", "[::1", "a b", "::1", "h\r\nX: y"}) {
    EXPECT_EQ(ParseUrl(text, 1).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ParseHeader, TakesNameAndValue) {
  const auto header = ParseHeader("X-Team:  fraud: \"a\"");
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->first, "X-Team");
  EXPECT_EQ(header->second, "fraud: \"a\"");
  EXPECT_EQ(ParseHeader("X:")->second, "");
}

TEST(ParseHeader, RefusesWhatWouldBreakTheRequest) {
  for (const char* text : {"", "X", ":v", "X Y: v", "X: a\r\nY: b", "X: a\nb", "X\x7f: v",
                           "content-length: 5", "Host: h", "Transfer-Encoding: chunked"}) {
    EXPECT_EQ(ParseHeader(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace verdict::load
