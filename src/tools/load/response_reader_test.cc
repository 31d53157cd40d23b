#include "tools/load/response_reader.h"

#include <gtest/gtest.h>

#include <string>

namespace verdict::load {
namespace {

using State = ResponseReader::State;

struct Answer {
  State state = State::kMore;
  int code = 0;
  bool closes = false;
  std::string body;
  std::string error;
  size_t taken = 0;
};

/// Feeds `bytes` in pieces of `step` until something is decided.
Answer Read(std::string_view bytes, size_t step, bool close = false) {
  ResponseReader reader;
  Answer answer;
  while (answer.state == State::kMore && answer.taken < bytes.size()) {
    size_t taken = 0;
    answer.state = reader.Feed(bytes.substr(answer.taken, step), &taken);
    EXPECT_LE(taken, step);
    if (answer.state == State::kMore) EXPECT_EQ(taken, std::min(step, bytes.size() - answer.taken));
    answer.taken += taken;
  }
  if (answer.state == State::kMore && close) answer.state = reader.Close();
  answer.code = reader.code();
  answer.closes = reader.closes();
  answer.body = reader.body();
  answer.error = reader.error();
  return answer;
}

constexpr size_t kWhole = 1 << 20;

TEST(ResponseReader, ReadsABodyOfKnownLengthFromAnyPieces) {
  const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
  for (size_t step = 1; step <= text.size() + 1; ++step) {
    const Answer answer = Read(text + "HTTP/1.1 404", step);
    ASSERT_EQ(answer.state, State::kDone) << step;
    ASSERT_EQ(answer.code, 200);
    ASSERT_EQ(answer.body, "hello");
    ASSERT_EQ(answer.taken, text.size()) << "the next response's bytes are not this one's";
    ASSERT_FALSE(answer.closes);
  }
}

TEST(ResponseReader, ReadsChunksFromAnyPieces) {
  const std::string text =
      "HTTP/1.1 503 No\r\ntransfer-encoding: Chunked\r\n\r\n"
      "3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
  for (size_t step = 1; step <= text.size(); ++step) {
    const Answer answer = Read(text, step);
    ASSERT_EQ(answer.state, State::kDone) << step << answer.error;
    ASSERT_EQ(answer.code, 503);
    ASSERT_EQ(answer.body, "abc0123456789");
    ASSERT_EQ(answer.taken, text.size());
  }
}

TEST(ResponseReader, ReadsOneResponseAfterAnother) {
  ResponseReader reader;
  for (int i = 0; i < 3; ++i) {
    size_t taken = 0;
    EXPECT_TRUE(reader.idle());
    ASSERT_EQ(reader.Feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", &taken), State::kDone);
    EXPECT_EQ(reader.body(), "x");
    EXPECT_FALSE(reader.idle());
    reader.Reset();
  }
}

TEST(ResponseReader, KnowsResponsesWithoutABody) {
  for (const char* text :
       {"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length:0\r\n\r\n"}) {
    for (const size_t step : {size_t{1}, kWhole}) {
      EXPECT_EQ(Read(text, step).state, State::kDone) << text;
      EXPECT_EQ(Read(text, step).body, "");
    }
  }
}

TEST(ResponseReader, PassesOverInterimResponses) {
  const std::string text =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  for (const size_t step : {size_t{1}, size_t{7}, kWhole}) {
    const Answer answer = Read(text, step);
    EXPECT_EQ(answer.state, State::kDone);
    EXPECT_EQ(answer.code, 200);
    EXPECT_EQ(answer.body, "ok");
  }
}

TEST(ResponseReader, KnowsWhenTheConnectionEnds) {
  const std::string length = "Content-Length: 0\r\n\r\n";
  EXPECT_TRUE(Read("HTTP/1.1 200 OK\r\nConnection: close\r\n" + length, 1).closes);
  EXPECT_TRUE(Read("HTTP/1.1 200 OK\r\nConnection: a, CLOSE\r\n" + length, 1).closes);
  EXPECT_FALSE(Read("HTTP/1.1 200 OK\r\nConnection: disclose\r\n" + length, 1).closes);
  EXPECT_TRUE(Read("HTTP/1.0 200 OK\r\n" + length, 1).closes);
  EXPECT_FALSE(Read("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + length, 1).closes);
}

TEST(ResponseReader, TakesABodyUntilTheConnectionEnds) {
  const Answer answer = Read("HTTP/1.1 200 OK\r\n\r\nall of it", 3, true);
  EXPECT_EQ(answer.state, State::kDone);
  EXPECT_EQ(answer.body, "all of it");
  EXPECT_TRUE(answer.closes);
}

TEST(ResponseReader, AConnectionClosedMidwayIsAnError) {
  for (const char* text :
       {"HTTP/1.1 20", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n"}) {
    const Answer answer = Read(text, kWhole, true);
    EXPECT_EQ(answer.state, State::kMalformed) << text;
    EXPECT_EQ(answer.error, "the connection was closed before its end");
  }
}

TEST(ResponseReader, RefusesWhatIsNotAResponse) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  for (const std::string& text : {std::string("SSH-2.0-OpenSSH\r\n\r\n"),
                                  std::string("HTTP/2 200 OK\r\n\r\n"),
                                  std::string("HTTP/1.1 2x0 OK\r\n\r\n"),
                                  std::string("HTTP/1.1 099 OK\r\n\r\n"),
                                  std::string("HTTP/1.1 2000 OK\r\n\r\n"),
                                  std::string("\r\n\r\n\r\n"),
                                  std::string("HTTP/1.1 101 Switching\r\n\r\n"),
                                  ok + "no colon\r\n\r\n",
                                  ok + ": no name\r\n\r\n",
                                  ok + "Content-Length: -1\r\n\r\n",
                                  ok + "Content-Length: 1x\r\n\r\n",
                                  ok + "Content-Length: 18446744073709551616\r\n\r\n",
                                  ok + "Content-Length: 9999999999999\r\n\r\n",
                                  ok + "Content-Length:\r\n\r\n",
                                  ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                  ok + "Transfer-Encoding: gzip\r\n\r\n",
                                  chunked + "x\r\n",
                                  chunked + "\r\n",
                                  chunked + "-1\r\n",
                                  chunked + "ffffffffffffffffff\r\n",
                                  chunked + "7fffffffffffffff\r\n",
                                  chunked + "1\r\nab\r\n"}) {
    for (const size_t step : {size_t{1}, kWhole}) {
      const Answer answer = Read(text, step);
      EXPECT_EQ(answer.state, State::kMalformed) << text;
      EXPECT_NE(answer.error, "") << text;
      EXPECT_TRUE(answer.closes) << text;
    }
  }
}

TEST(ResponseReader, KeepsABoundedPartOfEverything) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string much(100'000, 'x');
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  std::string trailers;
  for (int i = 0; i < 10'000; ++i) trailers += "name: value\r\n";
  for (const std::string& text : {ok + "Name: " + much, "HTTP/1.1 200 " + much, chunked + much,
                                  chunked + "0\r\n" + trailers}) {
    for (const size_t step : {size_t{100}, kWhole}) {
      const Answer answer = Read(text, step);
      EXPECT_EQ(answer.state, State::kMalformed);
      EXPECT_NE(answer.error.find("over 32 KiB"), std::string::npos) << answer.error;
    }
  }
  const Answer answer = Read(ok + "Content-Length: 100000\r\n\r\n" + much, 1000);
  EXPECT_EQ(answer.state, State::kDone);
  EXPECT_EQ(answer.body.size(), 512u);
}

}  // namespace
}  // namespace verdict::load
