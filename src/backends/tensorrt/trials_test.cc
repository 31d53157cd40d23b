#include "backends/tensorrt/trials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict::tensorrt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Trials, NamesChangeWhatTheyName) {
  const Trials none = ParseTrials("").value();
  EXPECT_EQ(none.zero_copy_bytes, Trials().zero_copy_bytes);
  const Trials two = ParseTrials("zero_copy_bytes=0,stack_bytes=256").value();
  EXPECT_EQ(two.zero_copy_bytes, 0U);
  EXPECT_EQ(two.stack_bytes, 256U);
  EXPECT_EQ(two.large_input_bytes, none.large_input_bytes);
}

TEST(Trials, WhatIsNoneIsNamed) {
  for (const char* text : {"fast", "fast=1", "stack_bytes", "stack_bytes=", "stack_bytes=1k",
                           "stack_bytes=-1", "=1", "stack_bytes=1,,zero_copy_bytes=2"}) {
    const auto trials = ParseTrials(text);
    EXPECT_EQ(trials.status().code(), StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(ParseTrials("stack_bytes=1,fast=1").status().message(),
              AllOf(HasSubstr("VERDICT_TENSORRT_TRIALS: 'fast=1'"), HasSubstr("parser_forms")));
}

}  // namespace
}  // namespace verdict::tensorrt
