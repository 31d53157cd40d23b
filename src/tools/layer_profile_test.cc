#include "tools/layer_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using ::testing::HasSubstr;

const std::vector<LayerProfile> kLayers = {{"MatMul [a]", 3, 0.3, 0.25, 75},
                                           {"part 1 (\x1b[31mhost)", 1, 0.1, 0.1, 25}};

TEST(LayerProfile, IsATableThatAddsUp) {
  const std::string text = ProfileTable(kLayers, 10);
  EXPECT_THAT(text, HasSubstr("=== Profile (10 iterations) ==="));
  EXPECT_THAT(text, HasSubstr("       3.000      0.30000      0.25000     75.0  MatMul [a]\n"));
  EXPECT_THAT(text, HasSubstr("       4.000      0.40000      0.35000    100.0  Total\n"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(LayerProfile, IsJsonAsTrtexecWritesIt) {
  EXPECT_EQ(ProfileJson(std::span(kLayers).first(1), 10),
            R"([{"count":10},{"name":"MatMul [a]","timeMs":3,"averageMs":0.3,)"
            R"("medianMs":0.25,"percentage":75}])");
}

}  // namespace
}  // namespace verdict
