#include <gmock/gmock.h>

#include <cmath>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

Constant RunOne(const Node& node, const std::vector<Constant>& inputs, size_t output = 0) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? (*outputs)[output] : Tensor<float>({0}, {});
}

TEST(Softmax, NormalizesAlongAnAxisAndSurvivesLargeInputs) {
  const Constant x = Tensor<float>({2, 2}, {1000, 1001, 0, 0});
  EXPECT_THAT(Values<float>(RunOne(MakeNode("Softmax", 1), {x})),
              Pointwise(FloatNear(1e-6F), {0.268941421F, 0.731058579F, 0.5F, 0.5F}));
  const Constant z = Tensor<float>({2, 2}, {0, 3, 1, 3});
  EXPECT_THAT(Values<float>(RunOne(MakeNode("Softmax", 1, {{"axis", int64_t{0}}}), {z})),
              Pointwise(FloatNear(1e-6F), {0.268941421F, 0.5F, 0.731058579F, 0.5F}));
}

TEST(Softmax, LogAndHardVariants) {
  const Constant x = Tensor<float>({1, 3}, {-500, 500, 500});
  EXPECT_THAT(Values<float>(RunOne(MakeNode("LogSoftmax", 1), {x})),
              Pointwise(FloatNear(1e-4F), {-1000.693147F, -0.693147F, -0.693147F}));
  EXPECT_THAT(Values<float>(RunOne(MakeNode("Hardmax", 1), {x})), ElementsAre(0, 1, 0));
}

TEST(Softmax, RefusesAnAxisOutOfRange) {
  EXPECT_THAT(RunOp(MakeNode("Softmax", 1, {{"axis", int64_t{2}}}), {Tensor<float>({1, 1}, {1})})
                  .status()
                  .message(),
              HasSubstr("axis 2"));
}

TEST(BatchNormalization, UsesEachChannelsStatistics) {
  const Constant y = RunOne(
      MakeNode("BatchNormalization", 5, {{"epsilon", 1.0F}}),
      {Tensor<float>({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}), Tensor<float>({2}, {2, 3}),
       Tensor<float>({2}, {10, 20}), Tensor<float>({2}, {1, 3}), Tensor<float>({2}, {3, 8})});
  EXPECT_THAT(Values<float>(y), ElementsAre(10, 11, 20, 21, 14, 15, 24, 25));
}

TEST(BatchNormalization, RefusesTrainingAndWrongChannels) {
  const auto status = [](Attributes attributes, const Shape& scale) {
    const Constant c = Tensor<float>({2}, {1, 1});
    const auto n = static_cast<size_t>(scale[0]);
    return RunOp(MakeNode("BatchNormalization", 5, std::move(attributes)),
                 {Tensor<float>({1, 2}, {1, 2}), Tensor<float>(scale, std::vector<float>(n, 1)), c,
                  c, c})
        .status();
  };
  EXPECT_TRUE(status({}, {2}).ok());
  EXPECT_EQ(status({{"training_mode", int64_t{1}}}, {2}).code(), StatusCode::kUnimplemented);
  EXPECT_THAT(status({}, {3}).message(), HasSubstr("input 1 (scale) has shape [3], needs [2]"));
}

TEST(LayerNormalization, NormalizesTrailingAxesAndGivesStatistics) {
  const Node node = MakeNode("LayerNormalization", 3, {{"axis", int64_t{1}}, {"epsilon", 0.0F}}, 3);
  const std::vector<Constant> inputs = {Tensor<float>({1, 2, 2}, {1, 3, 1, 3}),
                                        Tensor<float>({2, 2}, {1, 2, 3, 4}),
                                        Tensor<float>({2, 2}, {10, 10, 10, 20})};
  EXPECT_THAT(Values<float>(RunOne(node, inputs)), ElementsAre(9, 12, 7, 24));
  EXPECT_EQ(RunOne(node, inputs, 1).shape, (Shape{1, 1, 1}));
  EXPECT_THAT(Values<float>(RunOne(node, inputs, 1)), ElementsAre(2));
  EXPECT_THAT(Values<float>(RunOne(node, inputs, 2)), ElementsAre(1));
}

TEST(LayerNormalization, LeavesOutStatisticsThatNobodyWants) {
  Node node = MakeNode("LayerNormalization", 2, {}, 3);
  node.outputs[1] = kNoValue;
  auto outputs = RunOp(node, {Tensor<float>({2, 1}, {5, 7}), Tensor<float>({1}, {1})});
  ASSERT_TRUE(outputs.ok());
  EXPECT_THAT(Values<float>((*outputs)[0]), ElementsAre(0, 0));
  EXPECT_THAT(Values<float>((*outputs)[2]),
              ElementsAre(FloatNear(316.2277F, 1e-2F), FloatNear(316.2277F, 1e-2F)));
}

TEST(LayerNormalization, KeepsPrecisionFarFromZero) {
  const Constant y = RunOne(MakeNode("LayerNormalization", 2, {{"epsilon", 0.0F}}),
                            {Tensor<float>({1, 2}, {100000, 100001}), Tensor<float>({2}, {1, 1})});
  EXPECT_THAT(Values<float>(y), Pointwise(FloatNear(1e-6F), {-1.0F, 1.0F}));
}

TEST(LayerNormalization, RefusesAScaleOfAnotherShape) {
  EXPECT_THAT(RunOp(MakeNode("LayerNormalization", 2),
                    {Tensor<float>({1, 2}, {1, 2}), Tensor<float>({3}, {1, 1, 1})})
                  .status()
                  .message(),
              HasSubstr("input 1 (Scale) has shape [3], needs [2]"));
}

TEST(InstanceNormalization, NormalizesEachChannelOfEachSample) {
  const Constant y = RunOne(MakeNode("InstanceNormalization", 3, {{"epsilon", 0.0F}}),
                            {Tensor<float>({2, 2, 2}, {1, 3, 10, 30, 5, 9, 7, 7.5F}),
                             Tensor<float>({2}, {1, 2}), Tensor<float>({2}, {0, 100})});
  EXPECT_THAT(Values<float>(y),
              Pointwise(FloatNear(1e-5F), {-1.F, 1.F, 98.F, 102.F, -1.F, 1.F, 98.F, 102.F}));
}

TEST(GroupNormalization, NormalizesGroupsOfChannels) {
  const Node node =
      MakeNode("GroupNormalization", 3, {{"epsilon", 0.0F}, {"num_groups", int64_t{2}}});
  const Constant scale = Tensor<float>({4}, {1, 2, 3, 4});
  const Constant bias = Tensor<float>({4}, {0, 0, 0, 10});
  const Constant y = RunOne(node, {Tensor<float>({1, 4}, {1, 3, 20, 60}), scale, bias});
  EXPECT_THAT(Values<float>(y), Pointwise(FloatNear(1e-5F), {-1.F, 2.F, -3.F, 14.F}));
  const Constant three = Tensor<float>({3}, {1, 1, 1});
  EXPECT_THAT(RunOp(node, {Tensor<float>({1, 3, 1}, {1, 2, 3}), three, three}).status().message(),
              HasSubstr("do not divide into 2 groups"));
}

TEST(LpNormalization, DividesByTheNormAlongAnAxis) {
  const Constant x = Tensor<float>({2, 2}, {3, 0, -4, 0});
  const auto run = [&](int64_t axis, int64_t p) {
    return Values<float>(RunOne(MakeNode("LpNormalization", 1, {{"axis", axis}, {"p", p}}), {x}));
  };
  EXPECT_THAT(run(0, 2), Pointwise(FloatNear(1e-6F), {0.6F, 0.F, -0.8F, 0.F}));
  EXPECT_THAT(run(0, 1), Pointwise(FloatNear(1e-6F), {3.F / 7, 0.F, -4.F / 7, 0.F}));
  EXPECT_THAT(run(-1, 2), ElementsAre(1, 0, -1, 0));
  EXPECT_THAT(RunOp(MakeNode("LpNormalization", 1, {{"p", int64_t{3}}}), {x}).status().message(),
              HasSubstr("p is 3"));
}

TEST(RmsNormalization, DividesByRootMeanSquare) {
  const Constant y = RunOne(MakeNode("RMSNormalization", 2, {{"epsilon", 0.0F}}),
                            {Tensor<float>({1, 2}, {1, 7}), Tensor<float>({2}, {5, 10})});
  EXPECT_THAT(Values<float>(y), Pointwise(FloatNear(1e-6F), {1.0F, 14.0F}));
}

}  // namespace
}  // namespace verdict
