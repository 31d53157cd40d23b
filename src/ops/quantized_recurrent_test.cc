#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "ops/half.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBatch = 2, kInputs = 3, kHidden = 5;

std::vector<float> Normal(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.7F);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

/// Rows of `size` as int8 sees them: by the largest of each.
std::vector<float> Int8Rows(std::vector<float> values, size_t size) {
  for (size_t row = 0; row < values.size(); row += size) {
    float largest = 0;
    for (size_t i = row; i < row + size; ++i) largest = std::max(largest, std::fabs(values[i]));
    for (size_t i = row; i < row + size; ++i) {
      values[i] = std::nearbyint(values[i] / largest * 127) / 127 * largest;
    }
  }
  return values;
}

template <typename Half>
std::vector<float> HalfRows(std::vector<float> values, size_t) {
  for (float& value : values) value = Half::Of(value).ToFloat();
  return values;
}

/// The same layer with narrow weights, and in float32.
struct Layers {
  Constant w, r, w_scales, r_scales;
  Constant wide_w, wide_r;
};

Layers Int8Layers(int64_t rows) {
  Layers layers;
  std::mt19937 random(3);
  const auto make = [&](int64_t depth, Constant& narrow, Constant& scales, Constant& wide) {
    std::vector<int8_t> quanta(static_cast<size_t>(rows * depth));
    for (int8_t& quantum : quanta) quantum = static_cast<int8_t>(random() % 256 - 128);
    std::vector<float> of_rows(static_cast<size_t>(rows)), values;
    for (float& scale : of_rows) scale = 0.001F * static_cast<float>(random() % 9 + 1);
    for (size_t i = 0; i < quanta.size(); ++i) {
      values.push_back(static_cast<float>(quanta[i]) * of_rows[i / static_cast<size_t>(depth)]);
    }
    narrow = Tensor<int8_t>({1, rows, depth}, quanta);
    scales = Tensor<float>({rows}, of_rows);
    wide = Tensor<float>({1, rows, depth}, values);
  };
  make(kInputs, layers.w, layers.w_scales, layers.wide_w);
  make(kHidden, layers.r, layers.r_scales, layers.wide_r);
  return layers;
}

template <typename Half>
Layers HalfLayers(int64_t rows) {
  Layers layers;
  const auto make = [&](int64_t depth, Constant& narrow, Constant& wide) {
    std::vector<Half> halves;
    for (float value : Normal(rows * depth, 4)) halves.push_back(Half::Of(value));
    std::vector<float> values;
    for (Half half : halves) values.push_back(half.ToFloat());
    narrow = Tensor<Half>({1, rows, depth}, halves);
    wide = Tensor<float>({1, rows, depth}, values);
  };
  make(kInputs, layers.w, layers.wide_w);
  make(kHidden, layers.r, layers.wide_r);
  return layers;
}

std::vector<Constant> Inputs(const Layers& layers, const std::vector<float>& x,
                             const std::vector<float>& h, bool narrow) {
  const int64_t rows = layers.w.shape[1];
  std::vector<Constant> inputs = {Tensor<float>({1, kBatch, kInputs}, x),
                                  narrow ? layers.w : layers.wide_w,
                                  narrow ? layers.r : layers.wide_r,
                                  Tensor<float>({1, 2 * rows}, Normal(2 * rows, 5)),
                                  Constant{},
                                  Tensor<float>({1, kBatch, kHidden}, h)};
  if (!narrow) return inputs;
  inputs.resize(10);
  inputs[8] = layers.w_scales;
  inputs[9] = layers.r_scales;
  return inputs;
}

/// One step of the narrow layer is one of the float32 layer with x, and h, rounded. round: what it
/// should be rounded by.
void ExpectRounded(const std::string& op, const Layers& layers, bool with_state,
                   std::vector<float> (*round)(std::vector<float>, size_t)) {
  SCOPED_TRACE(op);
  const std::vector<float> x = Normal(kBatch * kInputs, 1);
  // A GRU's state is not only multiplied.
  const std::vector<float> h = with_state
                                   ? Normal(kBatch * kHidden, 2)
                                   : std::vector<float>(static_cast<size_t>(kBatch * kHidden));
  const std::vector<float> rounded_h = with_state ? round(h, kHidden) : h;
  ASSERT_NE(x, round(x, kInputs));
  const Attributes attributes = {{"linear_before_reset", int64_t{op == "GRU"}}};
  const Constant got = Compute("Quantized" + op, Inputs(layers, x, h, true), attributes);
  const Constant want =
      Compute(op, Inputs(layers, round(x, kInputs), rounded_h, false), attributes);
  const auto gots = got.view().as<const float>(), wants = want.view().as<const float>();
  ASSERT_EQ(gots.size(), static_cast<size_t>(kBatch * kHidden));
  for (size_t i = 0; i < gots.size(); ++i) EXPECT_NEAR(gots[i], wants[i], 1e-6);
}

TEST(QuantizedRecurrent, Int8RoundsEachRowByItsLargest) {
  ExpectRounded("LSTM", Int8Layers(4 * kHidden), true, Int8Rows);
  ExpectRounded("GRU", Int8Layers(3 * kHidden), false, Int8Rows);
}

TEST(QuantizedRecurrent, HalvesRoundToTheirType) {
  ExpectRounded("LSTM", HalfLayers<BFloat16>(4 * kHidden), true, HalfRows<BFloat16>);
  ExpectRounded("GRU", HalfLayers<BFloat16>(3 * kHidden), false, HalfRows<BFloat16>);
  ExpectRounded("LSTM", HalfLayers<Float16>(4 * kHidden), true, HalfRows<Float16>);
}

// Only the row with the NaN is spoilt.
TEST(QuantizedRecurrent, NanSpoilsItsOwnRow) {
  std::vector<float> x = Normal(kBatch * kInputs, 1);
  x[1] = NAN;
  const std::vector<float> h(static_cast<size_t>(kBatch * kHidden));
  const Constant y =
      Compute("QuantizedLSTM", Inputs(Int8Layers(4 * kHidden), x, h, true), Attributes{});
  const auto values = y.view().as<const float>();
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::isnan(values[i]), i < static_cast<size_t>(kHidden)) << i;
  }
}

TEST(QuantizedRecurrent, RefusesWhatDoesNotFitTogether) {
  const Layers int8 = Int8Layers(4 * kHidden);
  const std::vector<float> x = Normal(kBatch * kInputs, 1), h = Normal(kBatch * kHidden, 2);
  auto inputs = Inputs(int8, x, h, true);
  inputs[9] = Constant{};
  EXPECT_THAT(Message("QuantizedLSTM", inputs), HasSubstr("weights of int8 need scales"));
  inputs = Inputs(int8, x, h, true);
  inputs[8] = Tensor<float>({3}, {1, 1, 1});
  EXPECT_THAT(Message("QuantizedLSTM", inputs), HasSubstr("the scales"));
  inputs = Inputs(int8, x, h, true);
  inputs[2] = int8.wide_r;
  EXPECT_THAT(Message("QuantizedLSTM", inputs), HasSubstr("f32"));
  inputs = Inputs(HalfLayers<Float16>(4 * kHidden), x, h, true);
  inputs[8] = int8.w_scales;
  EXPECT_THAT(Message("QuantizedLSTM", inputs), HasSubstr("others have none"));
}

}  // namespace
}  // namespace verdict
