#include "backends/tensorrt/run_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict::tensorrt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

EngineTensor Tensor(DataType dtype, bool indexes = false,
                    Conversion conversion = Conversion::kNone) {
  return {"in", "x", dtype, conversion, indexes};
}

RunLayout Placed(const std::vector<EngineTensor>& inputs, const std::vector<Shape>& shapes,
                 const std::vector<EngineTensor>& outputs = {},
                 const std::vector<Shape>& output_shapes = {}) {
  RunLayout layout = MakeRunLayout(inputs.size(), outputs.size());
  layout.inputs = shapes;
  layout.outputs = output_shapes;
  PlaceTensors(inputs, outputs, Trials{.zero_copy_bytes = 1024, .large_input_bytes = 4096}, layout);
  return layout;
}

TEST(RunLayout, SmallTensorsLieTogetherAndAligned) {
  const EngineTensor f32 = Tensor(DataType::kFloat32);
  const RunLayout layout =
      Placed({f32, Tensor(DataType::kBool), f32}, {{2, 3}, {5}, {10}}, {f32, f32}, {{2}, {3}});
  EXPECT_THAT(layout.input_offsets, ElementsAre(0, 256, 512));
  EXPECT_EQ(layout.small_bytes, 512U + 40U);
  EXPECT_THAT(layout.output_offsets, ElementsAre(0, 256));
  EXPECT_EQ(layout.output_bytes, 256U + 12U);
  EXPECT_TRUE(layout.zero_copy);
}

TEST(RunLayout, LargeInputsLieBehindTheOthers) {
  const EngineTensor f32 = Tensor(DataType::kFloat32);
  const RunLayout layout = Placed({f32, f32, f32}, {{1024}, {4}, {2048}});
  EXPECT_THAT(layout.is_large, ElementsAre(true, false, true));
  EXPECT_THAT(layout.input_offsets, ElementsAre(256, 0, 256 + 4096));
  EXPECT_EQ(layout.small_bytes, 16U);
  EXPECT_EQ(layout.input_bytes, 256U + 4096U + 8192U);
  EXPECT_FALSE(layout.zero_copy);  // not the small ones either
}

TEST(RunLayout, WhatIsConvertedOrIndexesIsNeverLarge) {
  const RunLayout layout = Placed(
      {Tensor(DataType::kInt32, true), Tensor(DataType::kInt64, false, Conversion::kInt64AsInt32)},
      {{4096}, {4096}});
  EXPECT_THAT(layout.is_large, ElementsAre(false, false));
  EXPECT_EQ(layout.small_bytes, 2U * 4096 * 4);
  EXPECT_FALSE(layout.zero_copy);
}

TEST(RunLayout, EverythingIsCopiedOrNothing) {
  const EngineTensor f32 = Tensor(DataType::kFloat32);
  EXPECT_TRUE(Placed({f32}, {{256}}, {f32}, {{256}}).zero_copy);
  EXPECT_FALSE(Placed({f32}, {{257}}, {f32}, {{1}}).zero_copy);
  EXPECT_FALSE(Placed({f32}, {{1}}, {f32}, {{257}}).zero_copy);
  EXPECT_FALSE(Placed({f32, f32}, {{128}, {129}}, {f32}, {{1}}).zero_copy);
  // What lies between them does not count.
  EXPECT_TRUE(Placed({f32, f32, f32, f32, f32}, {{1}, {1}, {1}, {1}, {1}}, {f32}, {{1}}).zero_copy);
}

TEST(RunLayout, FewerRowsNeedNoMoreRoomInWhateverOrder) {
  const EngineTensor f32 = Tensor(DataType::kFloat32), flags = Tensor(DataType::kBool);
  const auto bytes = [&](int64_t rows) {
    return Placed({f32, flags, f32}, {{rows, 33}, {rows, 37}, {rows, 65}}).input_bytes;
  };
  for (int64_t rows = 1; rows < 100; ++rows) EXPECT_LE(bytes(rows), bytes(rows + 1)) << rows;
}

TEST(CheckIndices, NamesTheTensorAndTheRange) {
  const std::vector<int64_t> values = {0, 9, 1, 10};
  const TensorView view{DataType::kInt64, {2, 2}, const_cast<int64_t*>(values.data())};
  const EngineTensor ids{"in0", "ids", DataType::kInt64, Conversion::kInt64AsInt32, true};
  IndexRange range{.input = 0, .least = 0, .greatest = 9};
  const Status status = CheckIndices(range, ids, view);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "input 'ids' has an index outside [0, 9]");
  range.axis = 1;
  range.end = 1;
  EXPECT_TRUE(CheckIndices(range, ids, view).ok());  // column 0 alone
  range.begin = 1;
  range.end = 2;
  EXPECT_THAT(CheckIndices(range, ids, view).message(),
              HasSubstr("input 'ids' (1 to 1 of axis 1) has an index outside"));
}

TEST(FillPadding, ColumnsWhoseLeastIndexIsAbove0GetIt) {
  const EngineTensor ids{"in0", "ids", DataType::kInt64, Conversion::kInt64AsInt32, true};
  std::vector<int32_t> data(6, 77);
  const std::vector<IndexRange> ranges = {
      {.input = 0, .least = 5, .greatest = 9, .axis = 1, .begin = 1, .end = 2}};
  FillPadding(ranges, 0, ids, {3, 2}, 2, reinterpret_cast<std::byte*>(data.data()));
  EXPECT_THAT(data, ElementsAre(77, 77, 0, 5, 0, 5));
}

}  // namespace
}  // namespace verdict::tensorrt
