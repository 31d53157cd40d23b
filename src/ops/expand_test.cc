// Operators that make a tensor larger or from nothing: Expand, Tile, ConstantOfShape, Pad, Range,
// OneHot, EyeLike.
#include <gmock/gmock.h>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(Expand, BroadcastsBothWays) {
  const auto y = Compute("Expand", {Tensor<float>({2, 1}, {1, 2}), Ints({3})});
  EXPECT_EQ(y.shape, (Shape{2, 3}));
  EXPECT_THAT(Values<float>(y), ElementsAre(1, 1, 1, 2, 2, 2));
  const auto z = Compute("Expand", {Tensor<float>({2}, {1, 2}), Ints({2, 1})});
  EXPECT_THAT(Values<float>(z), ElementsAre(1, 2, 1, 2));
  EXPECT_THAT(Message("Expand", {Iota({2}), Ints({3})}),
              HasSubstr("has shape [2], which does not broadcast with [3]"));
  EXPECT_THAT(Message("Expand", {Iota({1}), Ints({-1})}), HasSubstr("is -1"));
}

TEST(Tile, RepeatsEveryAxis) {
  const auto y = Compute("Tile", {Iota({2, 2}), Ints({2, 3})});
  EXPECT_EQ(y.shape, (Shape{4, 6}));
  EXPECT_THAT(Values<float>(y), ElementsAre(0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3,  //
                                            0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3));
  EXPECT_EQ(Compute("Tile", {Iota({2}), Ints({0})}).shape, (Shape{0}));
  EXPECT_THAT(Message("Tile", {Iota({2}), Ints({-1})}), HasSubstr("the repeat of axis 0 is -1"));
  EXPECT_THAT(Message("Tile", {Iota({2}), Ints({1, 1})}), HasSubstr("there are 2 repeats"));
  EXPECT_THAT(Message("Tile", {Iota({2}), Ints({INT64_MAX})}), HasSubstr("overflows"));
}

TEST(ConstantOfShape, FillsWithZeroOrTheValue) {
  EXPECT_THAT(Values<float>(Compute("ConstantOfShape", {Ints({2, 2})})), ElementsAre(0, 0, 0, 0));
  const auto y = Compute("ConstantOfShape", {Ints({3}), Tensor<int64_t>({1}, {7})});
  EXPECT_THAT(Values<int64_t>(y), ElementsAre(7, 7, 7));
  EXPECT_EQ(Compute("ConstantOfShape", {Ints({})}).shape, (Shape{}));
  EXPECT_THAT(Message("ConstantOfShape", {Ints({-1})}), HasSubstr("element 0 of the shape is -1"));
  EXPECT_THAT(Message("ConstantOfShape", {Ints({1}), Iota({2})}),
              HasSubstr("the value must be one element"));
}

std::vector<float> Pad(const Constant& x, std::vector<int64_t> pads, std::string mode) {
  return Values<float>(Compute("Pad", {x, Ints(std::move(pads))}, {{"mode", std::move(mode)}}));
}

TEST(Pad, Modes) {
  const auto x = Tensor<float>({3}, {1, 2, 3});
  EXPECT_THAT(Pad(x, {1, 2}, "constant"), ElementsAre(0, 1, 2, 3, 0, 0));
  EXPECT_THAT(Pad(x, {1, 2}, "edge"), ElementsAre(1, 1, 2, 3, 3, 3));
  EXPECT_THAT(Pad(x, {2, 2}, "reflect"), ElementsAre(3, 2, 1, 2, 3, 2, 1));
  EXPECT_THAT(Pad(x, {0, 5}, "reflect"), ElementsAre(1, 2, 3, 2, 1, 2, 3, 2));
  EXPECT_THAT(Pad(x, {1, 2}, "wrap"), ElementsAre(3, 1, 2, 3, 1, 2));
  EXPECT_THAT(Pad(x, {-1, 1}, "constant"), ElementsAre(2, 3, 0));
  EXPECT_THAT(Pad(Tensor<float>({1}, {4}), {2, 1}, "reflect"), ElementsAre(4, 4, 4, 4));
}

TEST(Pad, AxesAndValue) {
  const auto x = Iota({2, 2});
  EXPECT_THAT(Values<float>(Compute("Pad", {x, Ints({0, 1, 1, 0}), Tensor<float>({}, {9})})),
              ElementsAre(9, 0, 1, 9, 2, 3, 9, 9, 9));
  EXPECT_THAT(Values<float>(Compute("Pad", {x, Ints({1, 0}), Tensor<float>({}, {9}), Ints({-1})})),
              ElementsAre(9, 0, 1, 9, 2, 3));
  EXPECT_THAT(Message("Pad", {x, Ints({1, 0})}), HasSubstr("there are 2 pads"));
  EXPECT_THAT(Message("Pad", {x, Ints({-3, 0, 0, 0})}),
              HasSubstr("axis 0 of shape [2,2] cannot be padded by -3 and 0"));
  EXPECT_THAT(Message("Pad", {x, Ints({INT64_MAX, 0, INT64_MAX, 0})}),
              HasSubstr("cannot be padded"));
  EXPECT_THAT(Message("Pad", {x, Ints({0, 0, 0, 0})}, {{"mode", std::string("mirror")}}),
              HasSubstr("mode is 'mirror'"));
  EXPECT_THAT(Message("Pad", {Iota({0}), Ints({1, 0})}, {{"mode", std::string("edge")}}),
              HasSubstr("cannot be padded"));
}

TEST(Range, CountsUpAndDown) {
  const auto scalars = [](auto... values) {
    using T = std::common_type_t<decltype(values)...>;
    return std::vector<Constant>{Tensor<T>({}, {static_cast<T>(values)})...};
  };
  EXPECT_THAT(Values<int64_t>(Compute("Range", scalars(int64_t{3}, int64_t{9}, int64_t{3}))),
              ElementsAre(3, 6));
  EXPECT_THAT(Values<int32_t>(Compute("Range", scalars(10, 4, -2))), ElementsAre(10, 8, 6));
  EXPECT_THAT(Values<float>(Compute("Range", scalars(0.F, 1.F, 0.25F))),
              ElementsAre(0, 0.25F, 0.5F, 0.75F));
  EXPECT_EQ(Compute("Range", scalars(5, 1, 1)).shape, (Shape{0}));
  EXPECT_THAT(Values<int64_t>(Compute("Range", scalars(INT64_MIN, INT64_MAX, INT64_MAX))),
              ElementsAre(INT64_MIN, -1, INT64_MAX - 1));
  EXPECT_THAT(Message("Range", scalars(1, 5, 0)), HasSubstr("delta is 0"));
  EXPECT_THAT(Message("Range", scalars(0.0, 1.0, 1e-300)), HasSubstr("too many"));
  EXPECT_THAT(Message("Range", scalars(0.0, std::numeric_limits<double>::quiet_NaN(), 1.0)),
              HasSubstr("has no end"));
  EXPECT_THAT(Message("Range", scalars(INT64_MIN, INT64_MAX, int64_t{1})), HasSubstr("too many"));
}

TEST(OneHot, SetsOneElementPerIndex) {
  const auto depth = Tensor<int64_t>({}, {3});
  const auto values = Tensor<float>({2}, {-1, 5});
  const auto y = Compute("OneHot", {Ints({0, -1, 3, 1}), depth, values});
  EXPECT_EQ(y.shape, (Shape{4, 3}));
  EXPECT_THAT(Values<float>(y), ElementsAre(5, -1, -1, -1, -1, 5, -1, -1, -1, -1, 5, -1));
  const auto front =
      Compute("OneHot", {Tensor<float>({2}, {2, 0}), depth, values}, {{"axis", int64_t{0}}});
  EXPECT_EQ(front.shape, (Shape{3, 2}));
  EXPECT_THAT(Values<float>(front), ElementsAre(-1, 5, -1, -1, 5, -1));
  EXPECT_THAT(Message("OneHot", {Ints({0}), Tensor<int64_t>({}, {0}), values}),
              HasSubstr("depth is 0"));
}

TEST(EyeLike, SetsADiagonal) {
  EXPECT_THAT(Values<float>(Compute("EyeLike", {Iota({2, 3})}, {{"k", int64_t{1}}})),
              ElementsAre(0, 1, 0, 0, 0, 1));
  EXPECT_THAT(Values<int64_t>(Compute("EyeLike", {Iota({2, 2})}, {{"dtype", int64_t{7}}})),
              ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(Values<float>(Compute("EyeLike", {Iota({2, 2})}, {{"k", INT64_MIN}})), Each(0));
}

TEST(Trilu, KeepsATriangle) {
  const auto x = Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto k = [](int64_t value) { return Tensor<int64_t>({}, {value}); };
  const Attributes lower = {{"upper", int64_t{0}}};
  EXPECT_THAT(Values<float>(Compute("Trilu", {x})), ElementsAre(1, 2, 3, 0, 5, 6));
  EXPECT_THAT(Values<float>(Compute("Trilu", {x, k(1)})), ElementsAre(0, 2, 3, 0, 0, 6));
  EXPECT_THAT(Values<float>(Compute("Trilu", {x}, lower)), ElementsAre(1, 0, 0, 4, 5, 0));
  EXPECT_THAT(Values<float>(Compute("Trilu", {x, k(-1)}, lower)), ElementsAre(0, 0, 0, 4, 0, 0));
  EXPECT_THAT(Values<float>(Compute("Trilu", {x, k(INT64_MAX)})), Each(0));
  EXPECT_THAT(Values<float>(Compute("Trilu", {Iota({2, 2, 2})})),
              ElementsAre(0, 1, 0, 3, 4, 5, 0, 7));
  EXPECT_THAT(Message("Trilu", {Iota({2})}), HasSubstr("needs 2 or more dimensions"));
}

class ExpandRule : public ::testing::Test {
 protected:
  Result<Shape> Infer(const char* op, const TensorView& a, const TensorView& b) {
    std::vector<TensorView> outputs(1);
    const Status status = InferNode(MakeNode(op, 2), std::vector{a, b}, outputs, &graph_);
    if (!status.ok()) return status;
    return outputs[0].shape;
  }
  static TensorView Data(const Shape& shape) { return {DataType::kFloat32, shape, nullptr}; }

  Graph graph_;
  const Dim n_ = graph_.Symbol("N");
};

TEST_F(ExpandRule, TakesSymbolsFromTargets) {
  const Constant target = Ints({n_ - 1, 4});
  EXPECT_EQ(*Infer("Expand", Data({1, 4}), target.view()), (Shape{n_, 4}));
  EXPECT_EQ(*Infer("Expand", Data({n_, 1}), target.view()), (Shape{n_, 4}));
  std::vector<TensorView> outputs(1);
  ASSERT_TRUE(
      InferNode(MakeNode("ConstantOfShape", 1), std::vector{target.view()}, outputs, &graph_).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n_, 4}));
}

TEST_F(ExpandRule, UnknownContentsGiveUnknownExtents) {
  const TensorView list{DataType::kInt64, {2}, nullptr};
  for (const char* op : {"Expand", "Tile"}) {
    const auto shape = Infer(op, Data({1, 1}), list);
    ASSERT_TRUE(shape.ok());
    EXPECT_THAT(shape->dims(), SizeIs(2));
    EXPECT_TRUE(IsSymbol((*shape)[0]) && IsSymbol((*shape)[1])) << op;
  }
  const Constant pads = Ints({0, 1, 0, 1});
  const auto padded = Infer("Pad", Data({n_, 4}), pads.view());
  EXPECT_EQ(*padded, (Shape{n_, 6}));
}

}  // namespace
}  // namespace verdict
