#include "tools/device_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(ParseMemoryPools, ReadsTrtexecsSizes) {
  const auto pools = ParseMemoryPools("workspace:64,tacticSharedMem:1.5K,dlaSRAM:2G,x:7B");
  ASSERT_TRUE(pools.ok()) << pools.status().ToString();
  EXPECT_THAT(*pools, ElementsAre(Pair("dlaSRAM", uint64_t{2} << 30), Pair("tacticSharedMem", 1536),
                                  Pair("workspace", 64 << 20), Pair("x", 7)));
  EXPECT_TRUE(ParseMemoryPools("")->empty());
}

TEST(ParseMemoryPools, QuotesWhatIsWrong) {
  for (const char* text :
       {"workspace", "workspace:", ":64", "workspace:x", "workspace:0", "workspace:-1",
        "workspace:1e30", "workspace:nan", "workspace:64MB", "workspace:1,", ","}) {
    const auto pools = ParseMemoryPools(text);
    EXPECT_EQ(pools.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(pools.status().message(), HasSubstr("is not a pool and its size")) << text;
  }
  EXPECT_THAT(ParseMemoryPools("a:1,a:2").status().message(), HasSubstr("'a' is there twice"));
}

TEST(DeviceBuildOptionsOf, TakesTheFlags) {
  DeviceBuildFlags flags;
  EXPECT_EQ(flags.given(), "");
  flags.no_tf32 = true;
  flags.tactic_sources = "-CUDNN,+CUBLAS";
  flags.verbosity = "layer_names_only";
  EXPECT_EQ(flags.given(), "--noTF32");
  const auto options = DeviceBuildOptionsOf(flags);
  ASSERT_TRUE(options.ok());
  EXPECT_FALSE(options->tf32);
  EXPECT_FALSE(options->detailed_layers);
  EXPECT_THAT(options->tactic_sources, ElementsAre("-CUDNN", "+CUBLAS"));
  flags.tactic_sources = "+";
  EXPECT_FALSE(DeviceBuildOptionsOf(flags).ok());
}

}  // namespace
}  // namespace verdict
