#include "release/rollout/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>
#include <random>

namespace verdict {
namespace {

using testing::HasSubstr;

RolloutState Example() {
  RolloutState state;
  state.id = "card-2024-\"05\"\n";
  state.route = "card";
  state.champion = {"fraud", 7};
  state.canary = {"fraud", 8};
  state.steps = 525;
  state.status = RolloutStatus::kRolledBack;
  state.reason = "rolled back: 3.1 % …";
  state.started = 1'700'000'000;
  state.snapshot.seconds = 0.1;
  state.snapshot.champion.requests = uint64_t{1} << 53;
  state.snapshot.canary = {.requests = 5,
                           .errors = 1,
                           .timeouts = 2,
                           .not_a_number = 3,
                           .over_threshold = 4,
                           .latencies = {},
                           .scores = {}};
  state.snapshot.canary.latencies.back() = 9;
  state.snapshot.canary.scores.front() = 8;
  return state;
}

/// The example's text with its first `from` as `to`.
std::string With(std::string_view from, std::string_view to) {
  std::string text = WriteRolloutState(Example());
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

class RolloutStateFile : public testing::Test {
 protected:
  RolloutStateFile()
      : folder_(std::filesystem::path(testing::TempDir()) /
                ("rollout_state_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~RolloutStateFile() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(RolloutStateFile, SurvivesARestart) {
  for (const auto status : {RolloutStatus::kRunning, RolloutStatus::kPromoted,
                            RolloutStatus::kRolledBack, RolloutStatus::kPinned}) {
    RolloutState state = Example();
    state.status = status;
    ASSERT_TRUE(SaveRolloutState(folder_ / "r.json", state).ok());
    const auto loaded = LoadRolloutState(folder_ / "r.json");
    ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
    EXPECT_EQ(*loaded, state);
  }
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(RolloutStateFile, ErrorsSayWhichFile) {
  EXPECT_EQ(LoadRolloutState(folder_ / "none.json").status().code(), StatusCode::kNotFound);
  std::ofstream(folder_ / "r.json") << "{\"format\": 1}";
  EXPECT_THAT(LoadRolloutState(folder_ / "r.json").status().message(),
              AllOf(HasSubstr("r.json"), HasSubstr("id: missing")));
  EXPECT_FALSE(SaveRolloutState(folder_ / "none" / "r.json", Example()).ok());
}

TEST_F(RolloutStateFile, WhatCouldNotBeReadDoesNotReplaceWhatCan) {
  ASSERT_TRUE(SaveRolloutState(folder_ / "r.json", Example()).ok());
  RolloutState state = Example();
  state.id = "";
  EXPECT_THAT(SaveRolloutState(folder_ / "r.json", state).message(), HasSubstr("id: must not be"));
  const auto loaded = LoadRolloutState(folder_ / "r.json");
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_EQ(*loaded, Example());
}

TEST(RolloutState, ErrorsSayWhichMember) {
  struct Case {
    std::string text;
    const char* message;
  };
  const Case cases[] = {
      {"", "0 bytes"},
      {"[]", "must be an object"},
      {std::string(5'000, '['), "5000 bytes"},
      {With("\"format\":1", "\"format\":2"), "format: must be 1"},
      {With("\"route\":\"card\"", "\"route\":\"\""), "route: must not be empty"},
      {With("\"route\":\"card\"", "\"route\":7"), "route: must be text"},
      {With("\"version\":7", "\"version\":0"), "champion.version: must be"},
      {With("\"version\":8", "\"version\":8.5"), "canary.version: must be"},
      {With("\"steps\":525", "\"steps\":10001"), "steps: 10001 is more than 10000"},
      {With("\"steps\":525", "\"steps\":-1"), "steps: must be"},
      {With("rolled_back", "rolled"), "status: must be running"},
      {With("\"seconds\":0.1", "\"seconds\":-1"), "snapshot.seconds: must be"},
      {With("\"seconds\":0.1", "\"seconds\":null"), "snapshot.seconds: must be"},
      {With("\"requests\":9007199254740992", "\"requests\":9007199254740993"),
       "snapshot.champion.requests: 9007199254740993 is more"},
      {With("\"latencies\":[0,", "\"latencies\":["), "snapshot.champion.latencies: 159 counts"},
      {With("\"latencies\":[0,", "\"latencies\":[0,0,"), "latencies[160]: one too many"},
      {With("\"scores\":[0,0,", "\"scores\":[0,-1,"), "snapshot.champion.scores[1]: must be"},
      {With("\"route\":\"card\"", "\"route\":\"" + std::string(2'000, 'x') + "\""),
       "route: 2000 bytes"},
  };
  for (const Case& c : cases) {
    const auto state = ReadRolloutState(c.text);
    ASSERT_FALSE(state.ok()) << c.message;
    EXPECT_EQ(state.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(state.status().message(), HasSubstr(c.message));
  }
}

TEST(RolloutState, PassesOverWhatANewerServerAdds) {
  const auto state = ReadRolloutState(With("{\"format\":1", "{\"new\":[1],\"format\":1"));
  ASSERT_TRUE(state.ok()) << state.status().ToString();
  EXPECT_EQ(*state, Example());
}

TEST(RolloutState, TruncatedTextIsAnError) {
  const std::string text = WriteRolloutState(Example());
  for (size_t size = 0; size + 1 < text.size(); ++size) {  // all but the end of the line
    ASSERT_FALSE(ReadRolloutState(std::string_view(text).substr(0, size)).ok()) << size;
  }
}

TEST(RolloutState, DamagedTextNeverCrashes) {
  std::mt19937_64 random(1);
  int accepted = 0;
  for (int run = 0; run < 20'000; ++run) {
    std::string text = WriteRolloutState(Example());
    for (int i = 0; i < 3; ++i) text[random() % text.size()] = static_cast<char>(random());
    accepted += ReadRolloutState(text).ok() ? 1 : 0;
  }
  EXPECT_LT(accepted, 20'000);
}

}  // namespace
}  // namespace verdict
