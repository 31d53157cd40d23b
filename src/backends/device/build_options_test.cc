#include "backends/device/build_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using ::testing::HasSubstr;

TEST(BuildOptions, ComeBackFromTheirText) {
  DeviceBuildOptions options;
  options.tf32 = false;
  options.fp16 = options.int8 = options.refittable = true;
  options.calibration_cache = "TRT-8503-EntropyCalibration2\nx: 3c010a14\n";
  options.optimization_level = 0;
  options.memory_pools = {{"workspace", uint64_t{1} << 40}, {"tacticSharedMemory", 0}};
  options.tactic_sources = {"-CUDNN", "+CUBLAS"};
  const auto text = BuildOptionsText(options);
  EXPECT_EQ(text.at("memory_pool:workspace"), "1099511627776");
  EXPECT_EQ(text.at("tactic_sources"), "-CUDNN,+CUBLAS");
  const auto parsed = ParseBuildOptions(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_FALSE(parsed->tf32);
  EXPECT_TRUE(parsed->fp16 && parsed->int8 && parsed->refittable && parsed->detailed_layers);
  EXPECT_FALSE(parsed->bf16);
  EXPECT_EQ(parsed->calibration_cache, options.calibration_cache);
  EXPECT_EQ(parsed->optimization_level, 0);
  EXPECT_EQ(parsed->memory_pools, options.memory_pools);
  EXPECT_EQ(parsed->tactic_sources, options.tactic_sources);
}

TEST(BuildOptions, DefaultsLeaveNothingToWrite) {
  EXPECT_TRUE(BuildOptionsText({}).empty());
  const auto parsed = ParseBuildOptions({});
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(BuildOptionsText(*parsed).empty());
}

TEST(BuildOptions, RefuseWhatIsNone) {
  const std::map<std::string, std::string> bad[] = {
      {{"fp15", "1"}},
      {{"fp16", "yes"}},
      {{"optimization_level", "3x"}},
      {{"optimization_level", ""}},
      {{"memory_pool:workspace", "-1"}},
      {{"memory_pool:workspace", "99999999999999999999"}},
  };
  for (const auto& text : bad) {
    const auto parsed = ParseBuildOptions(text);
    ASSERT_FALSE(parsed.ok()) << text.begin()->first;
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(parsed.status().message(), HasSubstr("'" + text.begin()->first + "'"));
  }
}

}  // namespace
}  // namespace verdict
