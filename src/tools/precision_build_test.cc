#include "tools/precision_build.h"

#include <gmock/gmock.h>

namespace verdict {
namespace {

using ::testing::HasSubstr;

/// An attempt that takes so many us where float32 takes 10, shape by shape.
PrecisionAttempt Timed(const std::string& name, const std::vector<double>& times) {
  PrecisionAttempt attempt{.name = name};
  for (size_t i = 0; i < times.size(); ++i) {
    attempt.speeds.push_back({Shape{static_cast<int64_t>(i) + 1}, 10, times[i]});
  }
  return attempt;
}

PrecisionAttempt Failed(const std::string& why) {
  return {.name = "int8", .report = {}, .speeds = {}, .why_not = why};
}

TEST(DecidePrecision, TakesTheFastestInTheMean) {
  const std::vector<PrecisionAttempt> attempts = {Timed("int8", {6, 8}), Timed("bfloat16", {9, 4}),
                                                  Failed("too lossy")};
  const PrecisionDecision decision = DecidePrecision(attempts, false);
  EXPECT_EQ(decision.attempt, 1u);
  EXPECT_TRUE(decision.passed);
}

TEST(DecidePrecision, NothingThatIsSlowerAtAnyShape) {
  const std::vector<PrecisionAttempt> attempts = {Timed("int8", {1, 11}),
                                                  Timed("bfloat16", {9, 10})};
  EXPECT_EQ(DecidePrecision(attempts, false).attempt, 1u);
  const PrecisionDecision decision = DecidePrecision({attempts.data(), 1}, false);
  EXPECT_FALSE(decision.attempt.has_value());
  EXPECT_TRUE(decision.passed);
  EXPECT_EQ(decision.why_float, "int8 takes 1.1 times as long as float32 at [2] on this machine");
}

TEST(DecidePrecision, NothingThatWasNotTimed) {
  const std::vector<PrecisionAttempt> attempts = {Timed("int8", {})};
  const PrecisionDecision decision = DecidePrecision(attempts, false);
  EXPECT_FALSE(decision.attempt.has_value());
  EXPECT_THAT(decision.why_float, HasSubstr("int8 could not be timed"));
}

TEST(DecidePrecision, WhatIsAskedForIsTakenAsItIs) {
  const std::vector<PrecisionAttempt> slow = {Timed("int8", {}), Timed("bfloat16", {20, 20})};
  EXPECT_EQ(DecidePrecision(slow, true).attempt, 1u) << "the one that was timed";
  EXPECT_EQ(DecidePrecision({slow.data(), 1}, true).attempt, 0u);
}

TEST(DecidePrecision, SaysWhyNothingPassed) {
  const std::vector<PrecisionAttempt> attempts = {Failed("one"), Failed("two")};
  const PrecisionDecision decision = DecidePrecision(attempts, true);
  EXPECT_FALSE(decision.passed);
  EXPECT_FALSE(decision.attempt.has_value());
  EXPECT_EQ(decision.why_float, "one; two");
}

}  // namespace
}  // namespace verdict
