// Operators along one axis in its order: ArgMax, ArgMin, TopK, CumSum, ReverseSequence, NonZero.
#include <gmock/gmock.h>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ArgMax, FindsTheFirstOrLastBest) {
  const auto x = Tensor<float>({2, 3}, {2, 7, 7, 5, 5, 1});
  const auto arg = [&](const char* op, int64_t axis, int64_t last) {
    return Values<int64_t>(
        Compute(op, {x}, {{"axis", axis}, {"keepdims", int64_t{0}}, {"select_last_index", last}}));
  };
  EXPECT_THAT(arg("ArgMax", 1, 0), ElementsAre(1, 0));
  EXPECT_THAT(arg("ArgMax", -1, 1), ElementsAre(2, 1));
  EXPECT_THAT(arg("ArgMin", 1, 0), ElementsAre(0, 2));
  EXPECT_THAT(arg("ArgMax", 0, 0), ElementsAre(1, 0, 0));
  EXPECT_EQ(Compute("ArgMax", {x}).shape, (Shape{1, 3}));
  EXPECT_THAT(Message("ArgMax", {Iota({0, 2})}), HasSubstr("axis 0 has extent 0"));
}

TEST(TopK, NanIsTheLargest) {
  const auto x = Tensor<float>({4}, {1, NAN, 2, NAN});
  const auto largest = RunOp(MakeNode("TopK", 2, {}, 2), {x, Ints({3})});
  ASSERT_TRUE(largest.ok());
  EXPECT_THAT(Values<int64_t>((*largest)[1]), ElementsAre(1, 3, 2));
  const auto smallest = RunOp(MakeNode("TopK", 2, {{"largest", int64_t{0}}}, 2), {x, Ints({3})});
  ASSERT_TRUE(smallest.ok());
  EXPECT_THAT(Values<int64_t>((*smallest)[1]), ElementsAre(0, 2, 1));
}

TEST(TopK, SortsAndPrefersLowerIndices) {
  const auto x = Tensor<float>({2, 4}, {3, 1, 3, 2, 0, 9, 4, 9});
  const auto largest = RunOp(MakeNode("TopK", 2, {}, 2), {x, Ints({3})});
  ASSERT_TRUE(largest.ok());
  EXPECT_EQ((*largest)[0].shape, (Shape{2, 3}));
  EXPECT_THAT(Values<float>((*largest)[0]), ElementsAre(3, 3, 2, 9, 9, 4));
  EXPECT_THAT(Values<int64_t>((*largest)[1]), ElementsAre(0, 2, 3, 1, 3, 2));
  const auto smallest = RunOp(
      MakeNode("TopK", 2, {{"largest", int64_t{0}}, {"axis", int64_t{0}}}, 2), {x, Ints({1})});
  ASSERT_TRUE(smallest.ok());
  EXPECT_THAT(Values<float>((*smallest)[0]), ElementsAre(0, 1, 3, 2));
  EXPECT_THAT(Values<int64_t>((*smallest)[1]), ElementsAre(1, 0, 0, 0));
  const auto none = RunOp(MakeNode("TopK", 2, {}, 2), {x, Ints({0})});
  EXPECT_EQ((*none)[0].shape, (Shape{2, 0}));
  EXPECT_THAT(RunOp(MakeNode("TopK", 2, {}, 2), {x, Ints({5})}).status().message(),
              HasSubstr("K is 5, but axis 1 of the input has shape [2,4]"));
}

TEST(CumSum, SumsForwardsAndBackwards) {
  const auto x = Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto sum = [&](int64_t axis, int64_t exclusive, int64_t reverse) {
    return Values<float>(Compute("CumSum", {x, Tensor<int64_t>({}, {axis})},
                                 {{"exclusive", exclusive}, {"reverse", reverse}}));
  };
  EXPECT_THAT(sum(1, 0, 0), ElementsAre(1, 3, 6, 4, 9, 15));
  EXPECT_THAT(sum(-1, 1, 0), ElementsAre(0, 1, 3, 0, 4, 9));
  EXPECT_THAT(sum(1, 0, 1), ElementsAre(6, 5, 3, 15, 11, 6));
  EXPECT_THAT(sum(1, 1, 1), ElementsAre(5, 3, 0, 11, 6, 0));
  EXPECT_THAT(sum(0, 0, 0), ElementsAre(1, 2, 3, 5, 7, 9));
  EXPECT_THAT(Message("CumSum", {x, Tensor<int64_t>({}, {2})}),
              HasSubstr("axis 2 is out of range for rank 2"));
}

TEST(ReverseSequence, ReversesEachPrefix) {
  const auto x = Iota({3, 2});
  EXPECT_THAT(Values<float>(Compute("ReverseSequence", {x, Ints({3, 2})})),
              ElementsAre(4, 3, 2, 1, 0, 5));
  EXPECT_THAT(Values<float>(Compute("ReverseSequence", {x, Ints({2, 1, 0})},
                                    {{"batch_axis", int64_t{0}}, {"time_axis", int64_t{1}}})),
              ElementsAre(1, 0, 2, 3, 4, 5));
  EXPECT_THAT(Values<float>(Compute("ReverseSequence", {Iota({2, 1, 2}), Ints({2})})),
              ElementsAre(2, 3, 0, 1));
  EXPECT_THAT(Message("ReverseSequence", {x, Ints({4, 0})}),
              HasSubstr("sequence 0 has length 4, but the time axis has extent 3"));
  EXPECT_THAT(Message("ReverseSequence", {x, Ints({1})}), HasSubstr("needs [2]"));
  EXPECT_THAT(Message("ReverseSequence", {x, Ints({1, 1})}, {{"time_axis", int64_t{1}}}),
              HasSubstr("must be 0 and 1 or 1 and 0"));
}

TEST(NonZero, OfKnownContentsOnly) {
  const auto y = Compute("NonZero", {Tensor<int32_t>({2, 2}, {1, 0, 0, -3})});
  EXPECT_EQ(y.shape, (Shape{2, 2}));
  EXPECT_THAT(Values<int64_t>(y), ElementsAre(0, 1, 0, 1));
  Graph graph;
  std::vector<TensorView> outputs(1);
  const TensorView unknown{DataType::kFloat32, {2, 3}, nullptr};
  ASSERT_TRUE(InferNode(MakeNode("NonZero", 1), std::vector{unknown}, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape[0], 2);
  EXPECT_TRUE(IsSymbol(outputs[0].shape[1]));
}

}  // namespace
}  // namespace verdict
