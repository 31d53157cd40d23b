#include <gmock/gmock.h>

#include <cmath>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Constant RunOne(const Node& node, const std::vector<Constant>& inputs) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? (*outputs)[0] : Tensor<float>({0}, {});
}

TEST(QuantizeLinear, RoundsTiesToEvenAndSaturates) {
  const Constant x = Tensor<float>({8}, {1, 3, -5, 1000, -1000, NAN, INFINITY, -INFINITY});
  const Constant scale = Tensor<float>({}, {2});
  EXPECT_THAT(
      Values<int8_t>(RunOne(MakeNode("QuantizeLinear", 3), {x, scale, Tensor<int8_t>({}, {1})})),
      ElementsAre(1, 3, -1, 127, -128, -128, 127, -128));
  EXPECT_THAT(Values<uint8_t>(RunOne(MakeNode("QuantizeLinear", 2), {x, scale})),
              ElementsAre(0, 2, 0, 255, 0, 0, 255, 0));
}

TEST(QuantizeLinear, HasAScaleForEachSlice) {
  const Constant y = RunOne(MakeNode("QuantizeLinear", 3),
                            {Tensor<float>({1, 2, 2}, {10, 20, 10, 20}),
                             Tensor<float>({2}, {10, 5}), Tensor<uint8_t>({2}, {0, 100})});
  EXPECT_THAT(Values<uint8_t>(y), ElementsAre(1, 2, 102, 104));
}

TEST(DequantizeLinear, SubtractsAndScales) {
  const Node node = MakeNode("DequantizeLinear", 3, {{"axis", int64_t{0}}});
  EXPECT_THAT(
      Values<float>(RunOne(node, {Tensor<int8_t>({2, 2}, {-128, 127, 0, 5}),
                                  Tensor<float>({2}, {0.5F, 2}), Tensor<int8_t>({2}, {127, 1})})),
      ElementsAre(-127.5F, 0, -2, 8));
  EXPECT_THAT(
      Values<float>(RunOne(MakeNode("DequantizeLinear", 2),
                           {Tensor<int32_t>({2}, {INT32_MIN, 3}), Tensor<float>({1}, {1})})),
      ElementsAre(-2147483648.F, 3));
}

TEST(DequantizeLinear, RefusesWhatDoesNotFit) {
  const auto message = [](const Constant& scale, const Constant& zero_point, int64_t axis) {
    return RunOp(MakeNode("DequantizeLinear", 3, {{"axis", axis}}),
                 {Tensor<int8_t>({2, 1}, {1, 2}), scale, zero_point})
        .status()
        .message();
  };
  const Constant two = Tensor<float>({2}, {1, 1});
  EXPECT_EQ(message(two, Tensor<int8_t>({2}, {0, 0}), 0), "");
  EXPECT_THAT(message(two, Tensor<int8_t>({2}, {0, 0}), 1), HasSubstr("(scale) has shape [2]"));
  EXPECT_THAT(message(two, Tensor<int8_t>({1}, {0}), 0), HasSubstr("(zero_point) has shape [1]"));
  EXPECT_THAT(message(two, Tensor<int8_t>({2}, {0, 0}), 2), HasSubstr("axis 2"));
  EXPECT_NE(message(two, Tensor<uint8_t>({2}, {0, 0}), 0), "");
}

}  // namespace
}  // namespace verdict
