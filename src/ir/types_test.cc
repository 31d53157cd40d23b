#include "ir/types.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace verdict {
namespace {

constexpr Dim kLargest = std::numeric_limits<Dim>::max();

TEST(DataType, NamesGoThereAndBack) {
  for (int i = 0; i <= static_cast<int>(DataType::kString); ++i) {
    const auto dtype = static_cast<DataType>(i);
    EXPECT_EQ(DataTypeFromName(DataTypeName(dtype)), dtype) << DataTypeName(dtype);
  }
  EXPECT_EQ(DataTypeName(DataType::kFloat32), "f32");
  EXPECT_EQ(DataTypeName(DataType::kBFloat16), "bf16");
  EXPECT_EQ(DataTypeName(DataType::kString), "str");
}

TEST(DataType, UnknownNamesAreUndefined) {
  for (const char* name : {"", "F32", "f32 ", "float", "i128"}) {
    EXPECT_EQ(DataTypeFromName(name), DataType::kUndefined) << name;
  }
}

TEST(DataType, ElementSizesAreThoseOfTheCxxTypes) {
  EXPECT_EQ(ElementSize(kDataTypeOf<float>), sizeof(float));
  EXPECT_EQ(ElementSize(kDataTypeOf<double>), sizeof(double));
  EXPECT_EQ(ElementSize(kDataTypeOf<int8_t>), 1U);
  EXPECT_EQ(ElementSize(kDataTypeOf<uint16_t>), 2U);
  EXPECT_EQ(ElementSize(kDataTypeOf<int32_t>), 4U);
  EXPECT_EQ(ElementSize(kDataTypeOf<uint64_t>), 8U);
  EXPECT_EQ(ElementSize(kDataTypeOf<bool>), sizeof(bool));
  EXPECT_EQ(ElementSize(kDataTypeOf<std::string_view>), sizeof(std::string_view));
  EXPECT_EQ(ElementSize(DataType::kFloat16), 2U);
  EXPECT_EQ(ElementSize(DataType::kBFloat16), 2U);
  EXPECT_EQ(ElementSize(DataType::kUndefined), 0U);
}

TEST(DataType, FloatingAndIntegerAreDisjoint) {
  for (int i = 0; i <= static_cast<int>(DataType::kString); ++i) {
    const auto dtype = static_cast<DataType>(i);
    const std::string_view name = DataTypeName(dtype);
    EXPECT_EQ(IsFloating(dtype), name == "bf16" || name[0] == 'f') << name;
    EXPECT_EQ(IsInteger(dtype),
              name == "u8" || name == "u16" || name == "u32" || name == "u64" || name[0] == 'i')
        << name;
  }
}

TEST(Shape, HoldsItsExtents) {
  Shape shape{3, 16};
  shape.push_back(7);
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[2], 7);
  shape[0] = 5;
  EXPECT_EQ(shape, (Shape{5, 16, 7}));
  EXPECT_FALSE(shape == (Shape{5, 16}));
  EXPECT_FALSE(shape == (Shape{5, 16, 8}));
  EXPECT_EQ(ToString(shape), "[5,16,7]");
  EXPECT_EQ(ToString(Shape{}), "[]");
}

TEST(Shape, IsStaticWithoutSymbols) {
  EXPECT_TRUE(Shape{}.IsStatic());
  EXPECT_TRUE((Shape{0, 3}).IsStatic());
  EXPECT_FALSE((Shape{3, -1}).IsStatic());
  EXPECT_EQ(ToString(Shape{-2, 3}), "[?,3]");
}

TEST(ShapeDeathTest, RefusesMoreThanEightAxes) {
  Shape full{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(full.rank(), Shape::kMaxRank);
  EXPECT_DEATH(full.push_back(9), "internal check failed");
  const std::vector<Dim> nine(9, 1);
  EXPECT_DEATH(Shape(std::span<const Dim>(nine)), "internal check failed");
}

TEST(NumElements, MultipliesTheExtents) {
  EXPECT_EQ(NumElements(Shape{}).value(), 1);
  EXPECT_EQ(NumElements(Shape{3, 16}).value(), 48);
  EXPECT_EQ(NumElements(Shape{3, 0, 16}).value(), 0);
  EXPECT_EQ(NumElements(Shape{kLargest}).value(), kLargest);
}

TEST(NumElements, RefusesSymbolsAndOverflow) {
  EXPECT_EQ(NumElements(Shape{3, -1}).status().code(), StatusCode::kInvalidArgument);
  const Status status = NumElements(Shape{kLargest, 2}).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("[9223372036854775807,2]"), std::string::npos);
  // The zero does not hide the overflow: strides of such a tensor cannot be computed.
  EXPECT_FALSE(NumElements(Shape{0, kLargest, 2}).ok());
  EXPECT_FALSE(NumElements(Shape{kLargest, 2, 0}).ok());
}

TEST(ByteSize, CountsBytesAndRefusesWhatNoObjectCanHave) {
  EXPECT_EQ(ByteSize(DataType::kFloat32, Shape{3, 16}).value(), 192U);
  EXPECT_EQ(ByteSize(DataType::kString, Shape{2}).value(), 2 * sizeof(std::string_view));
  EXPECT_EQ(ByteSize(DataType::kFloat64, Shape{0, 5}).value(), 0U);
  EXPECT_TRUE(ByteSize(DataType::kInt8, Shape{kLargest}).ok());
  EXPECT_FALSE(ByteSize(DataType::kFloat16, Shape{kLargest}).ok());
  EXPECT_FALSE(ByteSize(DataType::kFloat64, Shape{int64_t{1} << 61}).ok());
  EXPECT_FALSE(ByteSize(DataType::kFloat32, Shape{-1}).ok());
}

TEST(TensorView, GivesTypedElements) {
  float data[] = {1, 2, 3, 4, 5, 6};
  const TensorView view{DataType::kFloat32, Shape{2, 3}, data};
  EXPECT_EQ(view.size(), 6);
  view.as<float>()[5] = 9;
  EXPECT_EQ(data[5], 9);
  EXPECT_EQ(view.as<const float>().size(), 6U);
}

TEST(TensorViewDeathTest, RefusesAnotherType) {
  float data[] = {1};
  const TensorView view{DataType::kFloat32, Shape{1}, data};
  EXPECT_DEATH(static_cast<void>(view.as<int32_t>()), "internal check failed");
}

}  // namespace
}  // namespace verdict
