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
  EXPECT_THAT(Describe("[123456789012345678901234567890]"), HasSubstr("out of range"));
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
