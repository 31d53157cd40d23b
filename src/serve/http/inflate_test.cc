#include "serve/http/inflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

namespace verdict {
namespace {

std::string Compress(const std::string& text, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

constexpr int kGzip = 15 + 16;
constexpr int kZlib = 15;

class InflateTest : public testing::Test {
 protected:
  Status Run(std::string_view compressed, size_t max_bytes) {
    body_.Start(0);
    return Inflate(compressed, max_bytes, &body_);
  }
  MemoryBudget budget_{64 << 20};
  BodyBuffer body_{budget_};
};

TEST_F(InflateTest, GzipAndDeflateComeOutAsTheyWentIn) {
  for (const size_t size : {0, 1, 16384, 100'000}) {
    std::string text;
    for (size_t i = 0; i < size; ++i) text.push_back(static_cast<char>(i * 7 % 251));
    for (const int format : {kGzip, kZlib}) {
      ASSERT_TRUE(Run(Compress(text, format), size).ok()) << size;
      EXPECT_EQ(body_.text(), text);
    }
  }
}

TEST_F(InflateTest, BombsStopAtTheLimit) {
  const std::string bomb = Compress(std::string(10 << 20, 'a'), kGzip);
  EXPECT_LT(bomb.size(), 20'000u);
  EXPECT_EQ(Run(bomb, 1 << 20).code(), StatusCode::kOutOfRange);
  EXPECT_LE(body_.size(), size_t{1} << 20);
  EXPECT_EQ(Run(Compress("abcd", kGzip), 3).code(), StatusCode::kOutOfRange);
}

TEST_F(InflateTest, DamagedBodiesAreErrors) {
  const std::string good = Compress("hello, hello, hello", kGzip);
  EXPECT_EQ(Run(good.substr(0, good.size() - 1), 100).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Run(good + "x", 100).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Run("", 100).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Run("{\"a\":1}", 100).code(), StatusCode::kInvalidArgument);
  std::string flipped = good;
  flipped[flipped.size() - 6] ^= 1;  // the checksum
  EXPECT_EQ(Run(flipped, 100).code(), StatusCode::kInvalidArgument);
}

TEST_F(InflateTest, BudgetHolds) {
  MemoryBudget small(50'000);
  BodyBuffer body(small);
  body.Start(0);
  EXPECT_EQ(Inflate(Compress(std::string(1 << 20, 'a'), kGzip), 1 << 20, &body).code(),
            StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace verdict
