#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "ops/cast.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

constexpr int64_t kToFloat = 1, kToUInt8 = 2, kToInt8 = 3, kToInt32 = 6, kToInt64 = 7,
                  kToString = 8, kToBool = 9, kToHalf = 10, kToDouble = 11, kToUInt32 = 12,
                  kToUInt64 = 13, kToBFloat16 = 16;

Result<std::vector<Constant>> Cast(int64_t to, const Constant& x) {
  return RunOp(MakeNode("Cast", 1, {{"to", to}}), {x});
}

template <typename To, typename From>
std::vector<To> Cast(int64_t to, std::vector<From> values) {
  const Shape shape{static_cast<Dim>(values.size())};
  auto result = Cast(to, Tensor<From>(shape, std::move(values)));
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  if (!result.ok()) return {};
  return Values<To>((*result)[0]);
}

TEST(Cast, FloatsToIntegersTruncate) {
  EXPECT_THAT((Cast<int32_t, float>(kToInt32, {1.9F, -1.9F, 0.5F})), ElementsAre(1, -1, 0));
  EXPECT_THAT((Cast<int64_t, double>(kToInt64, {1e15 + 0.5, -2.5})),
              ElementsAre(1000000000000000, -2));
  EXPECT_THAT((Cast<uint64_t, double>(kToUInt64, {1e19})), ElementsAre(10000000000000000000U));
}

TEST(Cast, WhatDoesNotFitAnIntegerIsDefined) {
  EXPECT_THAT((Cast<int32_t, float>(kToInt32, {kNan, kInf, -kInf, 3e9F})),
              ElementsAre(INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN));
  EXPECT_THAT((Cast<int64_t, float>(kToInt64, {kNan, 1e30F})), ElementsAre(INT64_MIN, INT64_MIN));
  EXPECT_THAT((Cast<uint8_t, float>(kToUInt8, {-1, 256, 257, kNan})), ElementsAre(255, 0, 1, 0));
  EXPECT_THAT((Cast<int8_t, float>(kToInt8, {128, -129})), ElementsAre(-128, 127));
  EXPECT_THAT((Cast<uint32_t, float>(kToUInt32, {-1, 4e9F})),
              ElementsAre(4294967295U, 4000000000U));
  EXPECT_THAT((Cast<uint64_t, float>(kToUInt64, {-1, 1e30F, kNan})),
              ElementsAre(UINT64_MAX, 0U, uint64_t{1} << 63));
}

TEST(Cast, IntegersWrap) {
  EXPECT_THAT((Cast<int8_t, int32_t>(kToInt8, {200, -200})), ElementsAre(-56, 56));
  EXPECT_THAT((Cast<uint32_t, int64_t>(kToUInt32, {-1})), ElementsAre(4294967295U));
  EXPECT_THAT((Cast<float, int64_t>(kToFloat, {16777217})), ElementsAre(16777216.F));
}

TEST(Cast, Bools) {
  EXPECT_THAT((Cast<bool, float>(kToBool, {0, -0.F, 0.1F, kNan})),
              ElementsAre(false, false, true, true));
  EXPECT_THAT((Cast<bool, uint64_t>(kToBool, {0, uint64_t{1} << 40})), ElementsAre(false, true));
  const auto result = Cast(kToDouble, Bools({2}, {true, false}));
  EXPECT_THAT(Values<double>((*result)[0]), ElementsAre(1, 0));
}

TEST(Cast, HalvesRoundToNearestEven) {
  const auto bits = [](float x) { return Float16::Of(x).bits; };
  EXPECT_EQ(bits(0), 0);
  EXPECT_EQ(bits(-0.F), 0x8000);
  EXPECT_EQ(bits(1), 0x3c00);
  EXPECT_EQ(bits(-2), 0xc000);
  EXPECT_EQ(bits(65504), 0x7bff);
  EXPECT_EQ(bits(65519), 0x7bff);
  EXPECT_EQ(bits(65520), 0x7c00);
  EXPECT_EQ(bits(kInf), 0x7c00);
  EXPECT_EQ(bits(std::ldexp(1.F, -24)), 1);
  EXPECT_EQ(bits(std::ldexp(1.F, -25)), 0);  // half way, to even
  EXPECT_EQ(bits(std::ldexp(3.F, -25)), 2);  // half way, to even
  EXPECT_EQ(bits(std::ldexp(1.F, -14)), 0x400);
  EXPECT_EQ(bits(1 + std::ldexp(1.F, -11)), 0x3c00);
  EXPECT_EQ(bits(1 + std::ldexp(3.F, -11)), 0x3c02);
  EXPECT_TRUE(std::isnan(Float16::Of(kNan).ToFloat()));
  for (uint32_t i = 0; i < 65536; ++i) {
    const Float16 half{static_cast<uint16_t>(i)};
    if (std::isnan(half.ToFloat())) continue;
    ASSERT_EQ(Float16::Of(half.ToFloat()).bits, half.bits);
  }
}

TEST(Cast, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(BFloat16::Of(1).bits, 0x3f80);
  EXPECT_EQ(BFloat16::Of(1 + std::ldexp(1.F, -8)).bits, 0x3f80);
  EXPECT_EQ(BFloat16::Of(1 + std::ldexp(3.F, -8)).bits, 0x3f82);
  EXPECT_TRUE(std::isnan(BFloat16::Of(kNan).ToFloat()));
  EXPECT_EQ(BFloat16::Of(std::numeric_limits<float>::max()).ToFloat(), kInf);
}

TEST(Cast, GoesThroughHalves) {
  for (int64_t to : {kToHalf, kToBFloat16}) {
    const auto half = Cast(to, Tensor<float>({3}, {1.5F, -2, 1000}));
    ASSERT_TRUE(half.ok());
    const auto back = Cast(kToFloat, (*half)[0]);
    EXPECT_THAT(Values<float>((*back)[0]), ElementsAre(1.5F, -2, 1000));
    const auto integers = Cast(kToInt32, (*half)[0]);
    EXPECT_THAT(Values<int32_t>((*integers)[0]), ElementsAre(1, -2, 1000));
  }
}

TEST(Cast, ReadsNumbersFromStrings) {
  const auto strings = Constant::OfStrings({6}, {"1.5", " -2 ", "+3e2", "INF", "-inf", "0"});
  const auto result = Cast(kToFloat, strings);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_THAT(Values<float>((*result)[0]), ElementsAre(1.5F, -2, 300, kInf, -kInf, 0));
  const auto nan = Cast(kToDouble, Constant::OfStrings({1}, {"NaN"}));
  EXPECT_TRUE(std::isnan(Values<double>((*nan)[0])[0]));
  const auto integers =
      Cast(kToInt64, Constant::OfStrings({3}, {"9223372036854775807", "-5", "3.7"}));
  EXPECT_THAT(Values<int64_t>((*integers)[0]), ElementsAre(INT64_MAX, -5, 3));
  const auto scientific = Cast(kToInt64, Constant::OfStrings({1}, {"1e3"}));
  EXPECT_THAT(Values<int64_t>((*scientific)[0]), ElementsAre(1000));
  EXPECT_FALSE(Cast(kToInt64, Constant::OfStrings({1}, {"12abc"})).ok());
  for (const char* bad : {"", "x", "1.5kg", "+-1", "--1"}) {
    const auto error = Cast(kToFloat, Constant::OfStrings({2}, {"1", bad}));
    ASSERT_FALSE(error.ok()) << bad;
    EXPECT_EQ(error.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(error.status().message(), HasSubstr("element 1 is '" + std::string(bad) + "'"));
  }
}

TEST(Cast, DeclinesNumbersToStrings) {
  const auto result = Cast(kToString, Tensor<float>({1}, {1}));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(result.status().message(), HasSubstr("a cast from f32 to strings"));
  const auto strings = Constant::OfStrings({1}, {"a"});
  const auto same = Cast(kToString, strings);
  EXPECT_THAT(Values<std::string_view>((*same)[0]), ElementsAre("a"));
  EXPECT_EQ(Cast(99, Tensor<float>({1}, {1})).status().code(), StatusCode::kUnimplemented);
}

TEST(CastLike, TakesTheTypeOfItsSecondInput) {
  const auto result =
      RunOp(MakeNode("CastLike", 2), {Tensor<float>({2}, {1.5F, 2}), Tensor<int64_t>({}, {0})});
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(Values<int64_t>((*result)[0]), ElementsAre(1, 2));
}

}  // namespace
}  // namespace verdict
