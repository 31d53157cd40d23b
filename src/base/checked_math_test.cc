#include "base/checked_math.h"

#include <gtest/gtest.h>

#include <limits>

namespace verdict {
namespace {

TEST(CheckedMath, MultipliesUpToTheLimitAndNoFurther) {
  int64_t product = 0;
  EXPECT_TRUE(CheckedMul<int64_t>(int64_t{1} << 31, int64_t{1} << 31, &product));
  EXPECT_EQ(product, int64_t{1} << 62);
  EXPECT_FALSE(CheckedMul<int64_t>(int64_t{1} << 32, int64_t{1} << 31, &product));
  EXPECT_FALSE(CheckedMul<int64_t>(std::numeric_limits<int64_t>::min(), -1, &product));

  size_t bytes = 0;
  EXPECT_TRUE(CheckedMul<size_t>(size_t{1} << 60, 8, &bytes));
  EXPECT_EQ(bytes, size_t{1} << 63);
  EXPECT_FALSE(CheckedMul<size_t>(size_t{1} << 61, 8, &bytes));
}

TEST(CheckedMath, AddsUpToTheLimitAndNoFurther) {
  uint64_t sum = 0;
  EXPECT_TRUE(CheckedAdd<uint64_t>(std::numeric_limits<uint64_t>::max() - 1, 1, &sum));
  EXPECT_EQ(sum, std::numeric_limits<uint64_t>::max());
  EXPECT_FALSE(CheckedAdd<uint64_t>(std::numeric_limits<uint64_t>::max(), 1, &sum));
}

TEST(AlignUp, GivesTheNextMultiple) {
  EXPECT_EQ(AlignUp(0, 64), 0U);
  EXPECT_EQ(AlignUp(1, 64), 64U);
  EXPECT_EQ(AlignUp(64, 64), 64U);
  EXPECT_EQ(AlignUp(65, 64), 128U);
  EXPECT_EQ(AlignUp(4097, 4096), 8192U);
}

}  // namespace
}  // namespace verdict
