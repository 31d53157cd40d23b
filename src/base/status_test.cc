#include "base/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace verdict {
namespace {

TEST(Status, IsOkByDefault) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_EQ(status.ToString(), "OK");
}

TEST(Status, CarriesCodeMessageAndPlace) {
  const Status status = NotFound("model 'm'");
  const uint_least32_t line = __LINE__ - 1;
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.ToString(), "NOT_FOUND: model 'm'");
  EXPECT_EQ(status.place().line(), line);
  EXPECT_NE(std::string_view(status.place().file_name()).find("status_test.cc"),
            std::string_view::npos);
}

TEST(Status, CodesHaveTheNumbersAndNamesOfGrpc) {
  const std::pair<int, std::string_view> expected[] = {
      {0, "OK"},
      {1, "CANCELLED"},
      {2, "UNKNOWN"},
      {3, "INVALID_ARGUMENT"},
      {4, "DEADLINE_EXCEEDED"},
      {5, "NOT_FOUND"},
      {6, "ALREADY_EXISTS"},
      {7, "PERMISSION_DENIED"},
      {8, "RESOURCE_EXHAUSTED"},
      {9, "FAILED_PRECONDITION"},
      {10, "ABORTED"},
      {11, "OUT_OF_RANGE"},
      {12, "UNIMPLEMENTED"},
      {13, "INTERNAL"},
      {14, "UNAVAILABLE"},
      {15, "DATA_LOSS"},
      {16, "UNAUTHENTICATED"},
  };
  for (const auto& [number, name] : expected) {
    EXPECT_EQ(StatusCodeName(static_cast<StatusCode>(number)), name);
  }
  EXPECT_EQ(StatusCodeName(static_cast<StatusCode>(99)), "UNKNOWN");
}

TEST(Status, ContextGoesBeforeTheMessageAndKeepsCodeAndPlace) {
  const Status inner = DataLoss("section 'ir' is cut short");
  const Status outer = inner.WithContext("m.engine");
  EXPECT_EQ(outer.ToString(), "DATA_LOSS: m.engine: section 'ir' is cut short");
  EXPECT_EQ(outer.place().line(), inner.place().line());
  EXPECT_TRUE(OkStatus().WithContext("m.engine").ok());
  EXPECT_EQ(OkStatus().WithContext("m.engine").message(), "");
}

TEST(Result, HoldsAValueOrTheReasonWhyThereIsNone) {
  const Result<int> value = 7;
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 7);
  EXPECT_TRUE(value.status().ok());

  const Result<int> error = OutOfRange("no");
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.status().code(), StatusCode::kOutOfRange);
}

TEST(Result, MovesAValueThatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  const std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 5);
}

TEST(ResultDeathTest, ReadingTheValueOfAnErrorEndsTheProcess) {
  const Result<int> error = Internal("broken");
  EXPECT_DEATH(static_cast<void>(error.value()), "internal check failed");
  EXPECT_DEATH(static_cast<void>(Result<int>(OkStatus())), "internal check failed");
}

Result<int> Half(int number) {
  if (number % 2 != 0) return InvalidArgument(std::to_string(number) + " is odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  VERDICT_ASSIGN_OR_RETURN(const int half, Half(number));
  VERDICT_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status CheckQuarter(int number, int* evaluations) {
  VERDICT_RETURN_IF_ERROR((++*evaluations, Quarter(number).status()));
  return OkStatus();
}

TEST(StatusMacros, HandTheValueOnOrReturnTheError) {
  EXPECT_EQ(Quarter(12).value(), 3);
  EXPECT_EQ(Quarter(5).status().message(), "5 is odd");
  EXPECT_EQ(Quarter(6).status().message(), "3 is odd");
}

TEST(StatusMacros, EvaluateTheirExpressionOnce) {
  int evaluations = 0;
  EXPECT_TRUE(CheckQuarter(4, &evaluations).ok());
  EXPECT_EQ(evaluations, 1);
  EXPECT_FALSE(CheckQuarter(2, &evaluations).ok());
  EXPECT_EQ(evaluations, 2);
}

}  // namespace
}  // namespace verdict
