#include "tools/samples/sample_number.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ops/half.h"

namespace verdict {
namespace {

using testing::HasSubstr;

Number Parsed(std::string_view text) {
  const auto number = ParseNumber(text);
  EXPECT_TRUE(number.ok()) << number.status().ToString();
  return number.ok() ? *number : Number(int64_t{0});
}

template <typename T>
T Stored(const Number& number) {
  T value{};
  const Status status = StoreNumber(number, kDataTypeOf<T>, false, &value);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return value;
}

template <typename T>
std::string Refused(const Number& number) {
  T value{};
  return StoreNumber(number, kDataTypeOf<T>, false, &value).message();
}

TEST(SampleNumber, ReadsWholeNumbersExactly) {
  EXPECT_EQ(Parsed("9223372036854775807"), Number(INT64_MAX));
  EXPECT_EQ(Parsed("18446744073709551615"), Number(UINT64_MAX));
  EXPECT_EQ(Parsed(" -3\t"), Number(int64_t{-3}));
  EXPECT_EQ(Parsed("+3"), Number(int64_t{3}));
}

TEST(SampleNumber, ReadsOtherNumbers) {
  EXPECT_EQ(Parsed("-1.5e3"), Number(-1500.0));
  EXPECT_EQ(Parsed("1e-999"), Number(0.0));
  EXPECT_EQ(Parsed("1e999"), Number(std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(std::isnan(std::get<double>(Parsed(""))));
  EXPECT_TRUE(std::isnan(std::get<double>(Parsed("NaN"))));
}

TEST(SampleNumber, QuotesWhatIsNoNumber) {
  for (const char* text : {"abc", "1,5", "1.5x", "0x10", "+-3", "--3", "+"}) {
    EXPECT_THAT(ParseNumber(text).status().message(),
                HasSubstr("'" + std::string(text) + "' is not a number"));
  }
  EXPECT_LT(ParseNumber(std::string(100'000, 'a')).status().message().size(), 100U);
}

TEST(SampleNumber, RoundsToTheInputsType) {
  EXPECT_EQ(Stored<float>(0.1), 0.1F);
  EXPECT_EQ(Stored<float>(int64_t{16777217}), 16777216.0F);
  EXPECT_EQ(Stored<double>(0.1), 0.1);
  EXPECT_EQ(Stored<Float16>(1.5).ToFloat(), 1.5F);
  EXPECT_EQ(Stored<BFloat16>(-2.0).ToFloat(), -2.0F);
}

TEST(SampleNumber, ChecksTheRange) {
  EXPECT_EQ(Stored<float>(double{std::numeric_limits<float>::max()}),
            std::numeric_limits<float>::max());
  EXPECT_THAT(Refused<float>(1e39), HasSubstr("out of the range of float32"));
  EXPECT_THAT(Refused<Float16>(65520.0), HasSubstr("out of the range of float16"));
  EXPECT_THAT(Refused<BFloat16>(3.4e38), HasSubstr("out of the range of bfloat16"));
  EXPECT_EQ(Stored<int8_t>(int64_t{-128}), -128);
  EXPECT_THAT(Refused<int8_t>(int64_t{128}), HasSubstr("128 is out of the range of int8"));
  EXPECT_THAT(Refused<uint8_t>(int64_t{-1}), HasSubstr("-1 is out of the range of uint8"));
  EXPECT_EQ(Stored<uint64_t>(UINT64_MAX), UINT64_MAX);
  EXPECT_THAT(Refused<int64_t>(UINT64_MAX), HasSubstr("out of the range of int64"));
  EXPECT_THAT(Refused<int64_t>(1e30), HasSubstr("out of the range of int64"));
}

TEST(SampleNumber, TakesWholeFloatsForIntegers) {
  EXPECT_EQ(Stored<int32_t>(3.0), 3);
  EXPECT_EQ(Stored<uint64_t>(0x1p63), uint64_t{1} << 63);
  EXPECT_THAT(Refused<int32_t>(2.5), HasSubstr("2.5 is not a whole number, as int32 needs"));
  EXPECT_THAT(Refused<int32_t>(std::nan("")), HasSubstr("which int32 cannot hold"));
}

TEST(SampleNumber, RefusesNanAndInfinity) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(Refused<float>(std::nan("")), HasSubstr("NaN or missing; fill it in"));
  EXPECT_THAT(Refused<float>(-infinity), HasSubstr("an infinite value"));
  float value = 0;
  EXPECT_TRUE(StoreNumber(std::nan(""), DataType::kFloat32, true, &value).ok());
  EXPECT_TRUE(std::isnan(value));
  EXPECT_FALSE(StoreNumber(infinity, DataType::kFloat32, true, &value).ok());
}

TEST(SampleNumber, KnowsBooleansAndLabels) {
  EXPECT_TRUE(Stored<bool>(1.0));
  EXPECT_THAT(Refused<bool>(int64_t{2}), HasSubstr("2 is neither 0 nor 1"));
  EXPECT_EQ(LabelOf(1.0).value(), 1.0F);
  EXPECT_EQ(LabelOf(int64_t{0}).value(), 0.0F);
  EXPECT_THAT(LabelOf(int64_t{2}).status().message(), HasSubstr("the label is 2; it must be 1"));
  EXPECT_THAT(LabelOf(std::nan("")).status().message(), HasSubstr("the label is missing"));
}

TEST(SampleNumber, ReadsElementsOfAnyType) {
  std::vector<uint8_t> bytes = {7, 200};
  EXPECT_EQ(NumberAt({DataType::kUInt8, Shape{2}, bytes.data()}, 1), Number(uint64_t{200}));
  EXPECT_EQ(NumberAt({DataType::kInt8, Shape{2}, bytes.data()}, 1), Number(int64_t{-56}));
  EXPECT_EQ(NumberAt({DataType::kBool, Shape{2}, bytes.data()}, 0), Number(int64_t{1}));
}

}  // namespace
}  // namespace verdict
