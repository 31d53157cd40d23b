#include "serve/endpoints/json_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace verdict {
namespace {

std::string String(std::string_view text) {
  std::string out;
  AppendJsonString(&out, text);
  return out;
}

template <typename T>
std::string Number(T value) {
  std::string out;
  AppendJsonNumber(&out, value);
  return out;
}

TEST(JsonText, StringsAreEscaped) {
  EXPECT_EQ(String("a"), "\"a\"");
  EXPECT_EQ(String("q\" b\\ n\n z\x01 d\x7f"), "\"q\\\" b\\\\ n\\u000a z\\u0001 d\\u007f\"");
  EXPECT_EQ(String(std::string_view("\0", 1)), "\"\\u0000\"");
  EXPECT_EQ(String("\xc3\xa9"), "\"\xc3\xa9\"");
}

TEST(JsonText, BytesThatAreNoTextBecomeReplacementCharacters) {
  EXPECT_EQ(String("a\xff"), "\"a\xef\xbf\xbd\"");
}

TEST(JsonText, NumbersAreShortestThatReadBack) {
  EXPECT_EQ(Number(0.1f), "0.1");
  EXPECT_EQ(Number(0.1), "0.1");
  EXPECT_EQ(Number(static_cast<double>(0.1f)), "0.10000000149011612");
  EXPECT_EQ(Number(-0.0f), "-0");
  EXPECT_EQ(std::stof(Number(std::numeric_limits<float>::max())),
            std::numeric_limits<float>::max());
  EXPECT_EQ(std::stod(Number(std::numeric_limits<double>::min())),
            std::numeric_limits<double>::min());
}

TEST(JsonText, IntegersKeepAllDigits) {
  std::string out;
  AppendJsonInteger(&out, std::numeric_limits<int64_t>::min());
  out += ' ';
  AppendJsonInteger(&out, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(out, "-9223372036854775808 18446744073709551615");
}

TEST(JsonText, QuotedCutsLongTextBetweenCharacters) {
  EXPECT_EQ(Quoted("abc"), "'abc'");
  const std::string text = std::string(63, 'a') + "\xc3\xa9" + std::string(9, 'b');
  EXPECT_EQ(Quoted(text), "'" + std::string(63, 'a') + "…'");
}

}  // namespace
}  // namespace verdict
