#include "serve/http/target.h"

#include <gtest/gtest.h>

#include <vector>

namespace verdict {
namespace {

struct Match {
  bool matched;
  std::string model, version, region;
  bool operator==(const Match&) const = default;
};

Match MatchOf(std::string_view target, std::string_view pattern) {
  TargetPath path;
  EXPECT_TRUE(path.Parse(target).ok()) << target;
  std::string_view model, version, region;
  const bool matched = path.Matches(pattern, &model, &version, &region);
  return {matched, std::string(model), std::string(version), std::string(region)};
}

TEST(TargetPath, LiteralAndPlaceholderSegments) {
  EXPECT_EQ(MatchOf("/v2", "/v2"), (Match{true, "", ""}));
  EXPECT_EQ(MatchOf("/v2/models/a/versions/3/infer", "/v2/models/{model}/versions/{version}/infer"),
            (Match{true, "a", "3"}));
  EXPECT_EQ(MatchOf("/v2/region/r/status", "/v2/region/{region}/status"),
            (Match{true, "", "", "r"}));
  EXPECT_FALSE(MatchOf("/v2/models/a", "/v2/models/{model}/infer").matched);
  EXPECT_FALSE(MatchOf("/v2/models/a/infer", "/v2/models/{model}").matched);
  EXPECT_FALSE(MatchOf("/", "/v2").matched);
  EXPECT_FALSE(MatchOf("/v2/models//infer", "/v2/models/{model}/infer").matched);
  EXPECT_FALSE(MatchOf("//v2", "/v2").matched);
}

TEST(TargetPath, OtherNamesInBracesStandForAnySegment) {
  constexpr char kLoad[] = "/v2/repository/{repository}/models/{model}/load";
  EXPECT_EQ(MatchOf("/v2/repository/r/models/m/load", kLoad), (Match{true, "m", ""}));
  EXPECT_FALSE(MatchOf("/v2/repository//models/m/load", kLoad).matched);
}

TEST(TargetPath, QueryHostAndLastSlashAreLeftOff) {
  for (const char* target : {"/v2?x=/a", "/v2/", "http://host:80/v2", "/v2#f"}) {
    EXPECT_TRUE(MatchOf(target, "/v2").matched) << target;
  }
}

TEST(TargetPath, PercentIsDecodedWithinASegment) {
  EXPECT_EQ(MatchOf("/v2/models/a%20%C3%A9%2Fb", "/v2/models/{model}"),
            (Match{true, "a \xc3\xa9/b", ""}));
  EXPECT_TRUE(MatchOf("/%762", "/v2").matched);
}

TEST(TargetPath, BadTargetsAreErrors) {
  TargetPath path;
  for (const char* target : {"/v2/%", "/v2/%4", "/v2/%zz", "/v2/%00", "/v2/a%0a"}) {
    EXPECT_EQ(path.Parse(target).code(), StatusCode::kInvalidArgument) << target;
  }
  for (const char* target : {"", "*", "v2", "http://host", "?", "/1/2/3/4/5/6/7/8/9"}) {
    EXPECT_EQ(path.Parse(target).code(), StatusCode::kNotFound) << target;
  }
}

}  // namespace
}  // namespace verdict
