#include "tools/load/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Recording, IsReadLineByLine) {
  const auto recording = ParseRecording(
      "{\"at_us\": 1000, \"body\": \"{\\\"inputs\\\":[]}\"}\r\n"
      "\n"
      "{\"inputs\": [{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1.5,2]}],"
      " \"at_us\": 1250.5, \"note\": \"passed over\"}\n"
      "{\"at_us\":1250.5,\"body\":\"b\"}",
      "r.jsonl");
  ASSERT_TRUE(recording.ok()) << recording.status().ToString();
  EXPECT_THAT(recording->times_ns, ElementsAre(0, 250'500, 250'500));
  EXPECT_EQ(recording->requests[0].body, "{\"inputs\":[]}");
  ASSERT_EQ(recording->requests[1].inputs.size(), 1u);
  EXPECT_EQ(recording->requests[1].inputs[0].second.view().as<float>()[0], 1.5F);
  EXPECT_EQ(recording->requests[2].body, "b");
}

TEST(Recording, NumbersOfAnySizeAreTimes) {
  const auto recording = ParseRecording(
      "{\"at_us\":1764133200000000,\"body\":\"a\"}\n{\"at_us\":1764133200000123,\"body\":\"a\"}",
      "r");
  ASSERT_TRUE(recording.ok());
  EXPECT_THAT(recording->times_ns, ElementsAre(0, 123'000));
}

TEST(Recording, WhatIsWrongIsNamedWithItsLine) {
  const auto error = [](const std::string& text) {
    const auto recording = ParseRecording("{\"at_us\":5,\"body\":\"x\"}\n" + text, "r.jsonl");
    return recording.ok() ? "" : recording.status().message();
  };
  EXPECT_THAT(error("{"), HasSubstr("r.jsonl, line 2: not a JSON object"));
  EXPECT_THAT(error("[]"), HasSubstr("r.jsonl, line 2: not a JSON object"));
  EXPECT_THAT(error("{\"body\":\"x\"}"), HasSubstr("line 2: \"at_us\" must be a number"));
  EXPECT_THAT(error("{\"at_us\":\"6\",\"body\":\"x\"}"), HasSubstr("\"at_us\" must be a number"));
  EXPECT_THAT(error("{\"at_us\":4,\"body\":\"x\"}"), HasSubstr("before the line above"));
  EXPECT_THAT(error("{\"at_us\":6}"), HasSubstr("either \"inputs\""));
  EXPECT_THAT(error("{\"at_us\":6,\"body\":\"x\",\"inputs\":[]}"), HasSubstr("either \"inputs\""));
  EXPECT_THAT(error("{\"at_us\":6,\"body\":\"\"}"), HasSubstr("\"body\" is empty"));
  EXPECT_THAT(error("{\"at_us\":1e12,\"body\":\"x\"}"), HasSubstr("over a day"));
  EXPECT_THAT(error("{\"at_us\":6,\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[3],"
                    "\"data\":[1]}]}"),
              HasSubstr("line 2: input 'x'"));
  EXPECT_THAT(error("{\"at_us\":6,\"inputs\":" + std::string(100, '[')), HasSubstr("line 2"));
  EXPECT_EQ(error("\n \n"), "");
}

TEST(Recording, OfNothingIsRefused) {
  EXPECT_THAT(ParseRecording("\n\n", "r").status().message(), HasSubstr("r: no request"));
  EXPECT_EQ(ReadRecording("/does/not/exist").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace verdict::load
