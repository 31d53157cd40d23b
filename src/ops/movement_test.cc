// Operators that move elements: Transpose, Concat, Split, Slice, Gather and their kin.
#include <gmock/gmock.h>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Transpose, PermutesAxes) {
  const auto y = Compute("Transpose", {Iota({2, 3})});
  EXPECT_EQ(y.shape, (Shape{3, 2}));
  EXPECT_THAT(Values<float>(y), ElementsAre(0, 3, 1, 4, 2, 5));
  const auto z = Compute("Transpose", {Iota({2, 2, 3})}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  EXPECT_EQ(z.shape, (Shape{2, 2, 3}));
  EXPECT_THAT(Values<float>(z), ElementsAre(0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11));
  const auto w = Compute("Transpose", {Iota({2, 1, 3})}, {{"perm", std::vector<int64_t>{2, 1, 0}}});
  EXPECT_THAT(Values<float>(w), ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST(Transpose, MovesElementsOfEverySize) {
  EXPECT_THAT(Values<uint8_t>(Compute("Transpose", {Tensor<uint8_t>({2, 2}, {1, 2, 3, 4})})),
              ElementsAre(1, 3, 2, 4));
  EXPECT_THAT(Values<int16_t>(Compute("Transpose", {Tensor<int16_t>({2, 2}, {1, 2, 3, 4})})),
              ElementsAre(1, 3, 2, 4));
  EXPECT_THAT(Values<double>(Compute("Transpose", {Tensor<double>({2, 2}, {1, 2, 3, 4})})),
              ElementsAre(1, 3, 2, 4));
  EXPECT_THAT(Values<std::string_view>(
                  Compute("Transpose", {Constant::OfStrings({2, 2}, {"a", "b", "c", "d"})})),
              ElementsAre("a", "c", "b", "d"));
}

TEST(Transpose, RefusesABadPermutation) {
  const auto message = [](std::vector<int64_t> perm) {
    return Message("Transpose", {Iota({2, 3})}, {{"perm", std::move(perm)}});
  };
  EXPECT_THAT(message({0}), HasSubstr("perm has 1 axes"));
  EXPECT_THAT(message({0, 0}), HasSubstr("perm names axis 0 twice"));
  EXPECT_THAT(message({0, 2}), HasSubstr("axis 2 is out of range for rank 2"));
}

TEST(Concat, JoinsAlongAnyAxis) {
  const auto a = Iota({2, 2});
  const auto b = Tensor<float>({2, 1}, {8, 9});
  EXPECT_THAT(Values<float>(Compute("Concat", {a, b}, {{"axis", int64_t{1}}})),
              ElementsAre(0, 1, 8, 2, 3, 9));
  EXPECT_THAT(Values<float>(Compute("Concat", {a, a}, {{"axis", int64_t{0}}})),
              ElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
  EXPECT_THAT(
      Values<float>(Compute("Concat", {a, Tensor<float>({2, 0}, {}), b}, {{"axis", int64_t{-1}}})),
      ElementsAre(0, 1, 8, 2, 3, 9));
  EXPECT_THAT(Values<std::string_view>(Compute(
                  "Concat", {Constant::OfStrings({1}, {"a"}), Constant::OfStrings({2}, {"b", "c"})},
                  {{"axis", int64_t{0}}})),
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(Message("Concat", {a, b}, {{"axis", int64_t{0}}}), HasSubstr("cannot be joined"));
  EXPECT_THAT(Message("Concat", {a, Tensor<double>({2, 2}, {1, 2, 3, 4})}, {{"axis", int64_t{0}}}),
              HasSubstr("must be the same"));
  EXPECT_THAT(Message("Concat", {Tensor<float>({}, {1})}, {{"axis", int64_t{0}}}),
              HasSubstr("axis 0 is out of range for rank 0"));
}

TEST(Split, IntoEqualOrGivenParts) {
  const auto equal = RunOp(
      MakeNode("Split", 1, {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}}, 2), {Iota({2, 3})});
  ASSERT_TRUE(equal.ok());
  EXPECT_THAT(Values<float>((*equal)[0]), ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(Values<float>((*equal)[1]), ElementsAre(2, 5));
  const auto given =
      RunOp(MakeNode("Split", 2, {{"axis", int64_t{-1}}}, 3), {Iota({2, 3}), Ints({1, 0, 2})});
  ASSERT_TRUE(given.ok());
  EXPECT_THAT(Values<float>((*given)[0]), ElementsAre(0, 3));
  EXPECT_EQ((*given)[1].shape, (Shape{2, 0}));
  EXPECT_THAT(Values<float>((*given)[2]), ElementsAre(1, 2, 4, 5));
}

TEST(Split, RefusesPartsThatDoNotFit) {
  const auto message = [](size_t outputs, std::vector<Constant> inputs,
                          Attributes attributes = {}) {
    auto result = RunOp(MakeNode("Split", inputs.size(), std::move(attributes), outputs), inputs);
    EXPECT_FALSE(result.ok());
    return result.status().message();
  };
  EXPECT_THAT(message(2, {Iota({3}), Ints({1, 1})}),
              HasSubstr("add up to 2, but axis 0 has extent 3"));
  EXPECT_THAT(message(2, {Iota({3}), Ints({4, -1})}), HasSubstr("part 1 of split is -1"));
  EXPECT_THAT(message(2, {Iota({3}), Ints({3})}), HasSubstr("split has 1 parts"));
  EXPECT_THAT(message(2, {Iota({3})}, {{"num_outputs", int64_t{3}}}),
              HasSubstr("num_outputs is 3"));
  EXPECT_THAT(message(5, {Iota({6})}), HasSubstr("cannot be split into 5 parts"));
}

struct SliceCase {
  int64_t start, end, step;
  std::vector<float> y;
};

TEST(Slice, FollowsNumpyOnOneAxis) {
  const std::vector<SliceCase> cases = {
      {0, 3, 1, {0, 1, 2}},
      {1, INT64_MAX, 2, {1, 3}},
      {-2, INT64_MAX, 1, {3, 4}},
      {-100, 2, 1, {0, 1}},
      {3, 1, 1, {}},
      {7, 9, 1, {}},
      {-1, INT64_MIN, -1, {4, 3, 2, 1, 0}},
      {4, 0, -2, {4, 2}},
      {100, -100, -3, {4, 1}},
      {2, -100, -1, {2, 1, 0}},
      {0, 5, INT64_MAX, {0}},
      {4, INT64_MIN, INT64_MIN, {4}},
      {INT64_MIN, INT64_MAX, 4, {0, 4}},
  };
  for (const SliceCase& c : cases) {
    SCOPED_TRACE(std::to_string(c.start) + ":" + std::to_string(c.end) + ":" +
                 std::to_string(c.step));
    const auto y =
        Compute("Slice", {Iota({5}), Ints({c.start}), Ints({c.end}), Ints({0}), Ints({c.step})});
    EXPECT_THAT(Values<float>(y), ::testing::ElementsAreArray(c.y));
  }
}

TEST(Slice, CutsSeveralAxes) {
  const auto y =
      Compute("Slice", {Iota({3, 4}), Ints({2, 1}), Ints({-9, 3}), Ints({0, -1}), Ints({-1, 1})});
  EXPECT_EQ(y.shape, (Shape{3, 2}));
  EXPECT_THAT(Values<float>(y), ElementsAre(9, 10, 5, 6, 1, 2));
  EXPECT_THAT(Values<float>(Compute(
                  "Slice", {Iota({3, 2}), Tensor<int32_t>({1}, {1}), Tensor<int32_t>({1}, {2})})),
              ElementsAre(2, 3));
  EXPECT_EQ(Compute("Slice", {Iota({0, 2}), Ints({0}), Ints({5}), Ints({0}), Ints({-1})}).shape,
            (Shape{0, 2}));
}

TEST(Slice, RefusesBadBounds) {
  EXPECT_THAT(Message("Slice", {Iota({3}), Ints({0}), Ints({1, 2})}), HasSubstr("has 2 entries"));
  EXPECT_THAT(Message("Slice", {Iota({3}), Ints({0, 0}), Ints({1, 1})}), HasSubstr("entries"));
  EXPECT_THAT(Message("Slice", {Iota({3, 3}), Ints({0, 0}), Ints({1, 1}), Ints({1, -1})}),
              HasSubstr("axis 1 is sliced twice"));
  EXPECT_THAT(Message("Slice", {Iota({3}), Ints({0}), Ints({1}), Ints({2})}),
              HasSubstr("axis 2 is out of range for rank 1"));
  EXPECT_THAT(Message("Slice", {Iota({3}), Iota({1}), Iota({1})}), HasSubstr("has type f32"));
}

TEST(Gather, PicksRowsAlongAnAxis) {
  const auto y = Compute("Gather", {Iota({3, 2}), Tensor<int64_t>({2, 2}, {0, -1, 1, 1})});
  EXPECT_EQ(y.shape, (Shape{2, 2, 2}));
  EXPECT_THAT(Values<float>(y), ElementsAre(0, 1, 4, 5, 2, 3, 2, 3));
  const auto blocks = Compute("Gather", {Iota({2, 2, 2}), Ints({1, 0})});
  EXPECT_THAT(Values<float>(blocks), ElementsAre(4, 5, 6, 7, 0, 1, 2, 3));
  const auto column =
      Compute("Gather", {Iota({2, 3}), Tensor<int32_t>({}, {2})}, {{"axis", int64_t{1}}});
  EXPECT_EQ(column.shape, (Shape{2}));
  EXPECT_THAT(Values<float>(column), ElementsAre(2, 5));
  EXPECT_THAT(Values<std::string_view>(
                  Compute("Gather", {Constant::OfStrings({2}, {"a", "b"}), Ints({1, 0})})),
              ElementsAre("b", "a"));
}

TEST(Gather, RefusesAnIndexOutOfRange) {
  EXPECT_THAT(Message("Gather", {Iota({3, 2}), Ints({0, 3})}),
              HasSubstr("index 3 is out of range for axis 0 of extent 3"));
  EXPECT_THAT(Message("Gather", {Iota({3, 2}), Ints({-4})}), HasSubstr("index -4 is out of range"));
  EXPECT_THAT(Message("Gather", {Iota({3, 2}), Ints({INT64_MIN})}), HasSubstr("out of range"));
  EXPECT_THAT(Message("Gather", {Iota({3}), Iota({1})}), HasSubstr("has type f32"));
}

}  // namespace
}  // namespace verdict
