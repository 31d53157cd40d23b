#include "serve/endpoints/json_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using testing::HasSubstr;

std::string Describe(std::string_view json) { return DescribeJsonError(json, 4, "fallback"); }

TEST(JsonError, NotANumberNamesTheTensorAndTheWayOut) {
  const std::string text = R"({"inputs":[{"name":"amount","data":[1, NaN]}]})";
  EXPECT_THAT(Describe(text), HasSubstr("tensor 'amount'"));
  EXPECT_THAT(Describe(text), HasSubstr("binary form"));
  EXPECT_THAT(Describe(text), HasSubstr("at byte 39:"));
  EXPECT_THAT(Describe("[-Infinity]"), HasSubstr("'-Infinity' is not JSON"));
}

TEST(JsonError, NumbersOutOfRange) {
  EXPECT_THAT(Describe("[1e999]"), HasSubstr("the number '1e999' is out of range"));
  EXPECT_THAT(Describe("[1" + std::string(309, '0') + "]"), HasSubstr("000…' is out of range"));
  EXPECT_EQ(Describe("[1234567890123456789,-123456789012345678901234567890.5 x]"),
            "at byte 55: 'x' is not JSON");
}

TEST(JsonError, WideIntegersBecomeFloatsAndNothingElseChanges) {
  EXPECT_EQ(WithWideIntegersAsFloats(R"({"18446744073709551616":[18446744073709551615,)"
                                     R"(18446744073709551616, -9223372036854775809 ,)"
                                     R"(-9223372036854775808,18446744073709551616.0,0]})"),
            R"({"18446744073709551616":[18446744073709551615,)"
            R"(18446744073709551616e0, -9223372036854775809e0 ,)"
            R"(-9223372036854775808,18446744073709551616.0,0]})");
  EXPECT_EQ(WithWideIntegersAsFloats("[9223372036854775808,\"a\\\"18446744073709551616"), "");
  EXPECT_EQ(WithWideIntegersAsFloats("[099999999999999999999,99999999999999999999x]"), "");
}

TEST(JsonError, DepthAndEnd) {
  EXPECT_THAT(Describe("[[[[[1]]]]]"), HasSubstr("nested deeper than 4 levels"));
  EXPECT_THAT(Describe("{\"a\": [1"), HasSubstr("ends before it is complete"));
  EXPECT_THAT(Describe("{\"a"), HasSubstr("a string is not closed"));
  EXPECT_THAT(Describe("{\"a\\"), HasSubstr("a string is not closed"));
}

TEST(JsonError, TokensThatAreNoJson) {
  EXPECT_THAT(Describe("[01]"), HasSubstr("'01' is not JSON"));
  EXPECT_THAT(Describe("[1.]"), HasSubstr("'1.' is not JSON"));
  EXPECT_THAT(Describe("[True]"), HasSubstr("'True' is not JSON"));
  EXPECT_THAT(Describe("[\xff\xfe]"), HasSubstr("this is not JSON"));
}

TEST(JsonError, OtherwiseWhatTheParserSaid) { EXPECT_EQ(Describe("[1 2]"), "fallback"); }

}  // namespace
}  // namespace verdict
