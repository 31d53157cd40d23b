#include "config/override_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/sample_config_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Status Apply(SampleConfig* sample, const std::string& path, const std::string& text) {
  return ApplyOverride(SampleKeys(sample), {"--x", path, text});
}

TEST(ApplyOverride, SetsWhatAWordCanSay) {
  SampleConfig sample;
  for (const auto& [path, text] :
       std::vector<std::pair<std::string, std::string>>{{"flag", "true"},
                                                        {"port", "1"},
                                                        {"ratio", "0.125"},
                                                        {"text", "80"},
                                                        {"color", "green"},
                                                        {"names", "a,b"},
                                                        {"sizes", "3,4"},
                                                        {"section.count", "2"}}) {
    EXPECT_TRUE(Apply(&sample, path, text).ok()) << path;
  }
  EXPECT_TRUE(sample.flag);
  EXPECT_EQ(sample.port, 1);
  EXPECT_EQ(sample.ratio, 0.125);
  EXPECT_EQ(sample.text, "80");
  EXPECT_EQ(sample.color, SampleConfig::Color::kGreen);
  EXPECT_THAT(sample.names, ElementsAre("a", "b"));
  EXPECT_THAT(sample.sizes, ElementsAre(3, 4));
  EXPECT_EQ(sample.section.count, 2);
  EXPECT_TRUE(Apply(&sample, "names", "").ok());
  EXPECT_THAT(sample.names, ElementsAre());
}

TEST(ApplyOverride, SaysWhereItCameFrom) {
  SampleConfig sample;
  EXPECT_EQ(Apply(&sample, "port", "x").message(),
            "--x: key 'port': 'x' is not a whole number; write one from 0 to 65535");
  EXPECT_THAT(Apply(&sample, "section.cout", "1").message(),
              HasSubstr("there is no such key (did you mean 'section.count'?)"));
  for (const char* path : {"", ".", "port.", "port.x", "section.", "optional.count"}) {
    EXPECT_THAT(Apply(&sample, path, "1").message(), HasSubstr("no such key")) << path;
  }
  for (const char* path : {"by_name", "section", "optional", "list", "by_number", "old"}) {
    EXPECT_THAT(Apply(&sample, path, "1").message(), HasSubstr("in the configuration file only"))
        << path;
  }
}

TEST(EnvironmentOverrides, FindsThoseOfOursAndWarnsOfOthers) {
  SampleConfig sample;
  std::vector<std::string> warnings;
  const std::vector<std::pair<std::string, std::string>> environment = {
      {"PATH", "/bin"},
      {"VERDICT_SECTION_COUNT", "4"},
      {"VERDICT_PROT", "5"},
      {"verdict_port", "6"}};
  const auto overrides = EnvironmentOverrides(SampleKeys(&sample), environment, &warnings);
  ASSERT_EQ(overrides.size(), 1u);
  EXPECT_EQ(overrides[0].source, "VERDICT_SECTION_COUNT");
  EXPECT_EQ(overrides[0].path, "section.count");
  EXPECT_EQ(overrides[0].text, "4");
  EXPECT_THAT(warnings,
              ElementsAre("environment variable VERDICT_PROT names no key and is passed over (did "
                          "you mean 'VERDICT_PORT'?)"));
}

}  // namespace
}  // namespace verdict
