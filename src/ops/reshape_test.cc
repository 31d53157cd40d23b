#include <gmock/gmock.h>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Shape rules with symbols: N and M are extents of a graph.
class ShapeRule : public ::testing::Test {
 protected:
  /// Shape of output 0 of `node`; inputs with null data have unknown contents.
  Result<Shape> Infer(const Node& node, const std::vector<TensorView>& inputs) {
    std::vector<TensorView> outputs(node.outputs.size());
    if (Status status = InferNode(node, inputs, outputs, &graph_); !status.ok()) return status;
    return outputs[0].shape;
  }

  Result<Shape> Reshape(const Shape& input, std::vector<int64_t> target,
                        Attributes attributes = {}) {
    const Constant constant = Ints(std::move(target));
    return Infer(MakeNode("Reshape", 2, std::move(attributes)), {Data(input), constant.view()});
  }

  static TensorView Data(const Shape& shape) { return {DataType::kFloat32, shape, nullptr}; }
  static bool IsNew(Dim dim, int known_symbols) { return dim < -known_symbols; }

  Graph graph_;
  const Dim n_ = graph_.Symbol("N");
  const Dim m_ = graph_.Symbol("M");
};

TEST_F(ShapeRule, ReshapeFindsTheRest) {
  EXPECT_EQ(*Reshape({2, 3, 4}, {-1, 6}), (Shape{4, 6}));
  EXPECT_EQ(*Reshape({2, 3, 4}, {0, -1}), (Shape{2, 12}));
  EXPECT_EQ(*Reshape({2, 3, 4}, {24}), (Shape{24}));
  EXPECT_EQ(*Reshape({1}, {}), (Shape{}));
  EXPECT_EQ(*Reshape({0, 3}, {0, 5}, {{"allowzero", int64_t{1}}}), (Shape{0, 5}));
}

TEST_F(ShapeRule, ReshapeKeepsSymbols) {
  EXPECT_EQ(*Reshape({n_, 16}, {-1, 4, 4}), (Shape{n_, 4, 4}));
  EXPECT_EQ(*Reshape({n_, 4, 4}, {0, -1}), (Shape{n_, 16}));
  EXPECT_EQ(*Reshape({n_, m_, 4}, {0, 0, 2, 2}), (Shape{n_, m_, 2, 2}));
  const Shape merged = *Reshape({n_, m_, 4}, {0, -1});
  EXPECT_EQ(merged[0], n_);
  EXPECT_TRUE(IsNew(merged[1], 2));
  // A partly known target: element -2 is Dim -1, which is N.
  EXPECT_EQ(*Reshape({n_, m_, 4}, {n_ - 1, -1, 4}), (Shape{n_, m_, 4}));
  EXPECT_EQ(*Reshape({n_, m_, 4}, {n_ - 1, m_ - 1, 4}), (Shape{n_, m_, 4}));
  // 2 N rows cannot be named.
  EXPECT_TRUE(IsNew((*Reshape({n_, 16}, {-1, 8}))[0], 2));
}

TEST_F(ShapeRule, ReshapeOfUnknownTargetHasItsRank) {
  const TensorView target{DataType::kInt64, {3}, nullptr};
  const auto shape = Infer(MakeNode("Reshape", 2), {Data({n_, 16}), target});
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(shape->rank(), 3);
  for (Dim dim : shape->dims()) EXPECT_TRUE(IsNew(dim, 2));
  const TensorView endless{DataType::kInt64, {n_}, nullptr};
  EXPECT_EQ(Infer(MakeNode("Reshape", 2), {Data({n_}), endless}).status().code(),
            StatusCode::kUnimplemented);
}

TEST_F(ShapeRule, ReshapeRefusesWhatDoesNotFit) {
  const auto message = [&](const Shape& input, std::vector<int64_t> target,
                           Attributes attributes = {}) {
    const auto shape = Reshape(input, std::move(target), std::move(attributes));
    EXPECT_FALSE(shape.ok());
    return shape.status().message();
  };
  EXPECT_THAT(message({2, 3}, {4}), HasSubstr("[2,3] does not fit the target [4]"));
  EXPECT_THAT(message({2, 3}, {-1, 4}), HasSubstr("6 elements cannot be divided by 4"));
  EXPECT_THAT(message({2, 3}, {-1, -1}), HasSubstr("more than one -1"));
  EXPECT_THAT(message({2, 3}, {2, 3, 0}), HasSubstr("element 2 of the target shape is 0"));
  EXPECT_THAT(message({2, 3}, {-9}), HasSubstr("element 0 of the target shape is -9"));
  EXPECT_THAT(message({0}, {0, -1}, {{"allowzero", int64_t{1}}}), HasSubstr("allowzero"));
  EXPECT_THAT(message({2}, {1, 1, 1, 1, 1, 1, 1, 1, 2}), HasSubstr("9 axes; at most 8"));
  EXPECT_THAT(message({1}, {INT64_MAX, INT64_MAX}), HasSubstr("overflows"));
}

TEST_F(ShapeRule, FlattenMultiplies) {
  const auto flatten = [&](const Shape& input, int64_t axis) {
    return Infer(MakeNode("Flatten", 1, {{"axis", axis}}), {Data(input)});
  };
  EXPECT_EQ(*flatten({2, 3, 4}, 1), (Shape{2, 12}));
  EXPECT_EQ(*flatten({2, 3, 4}, 0), (Shape{1, 24}));
  EXPECT_EQ(*flatten({2, 3, 4}, 3), (Shape{24, 1}));
  EXPECT_EQ(*flatten({2, 3, 4}, -1), (Shape{6, 4}));
  EXPECT_EQ(*flatten({n_, 3, 4}, 1), (Shape{n_, 12}));
  EXPECT_EQ(*flatten({n_, 1, 4}, 2), (Shape{n_, 4}));
  EXPECT_THAT(flatten({2, 3}, 4).status().message(),
              HasSubstr("axis 4 is out of range for rank 2"));
}

TEST_F(ShapeRule, SqueezeAndUnsqueeze) {
  const Constant axes = Ints({0, -1});
  const Node squeeze = MakeNode("Squeeze", 2);
  const Node unsqueeze = MakeNode("Unsqueeze", 2);
  EXPECT_EQ(*Infer(squeeze, {Data({1, n_, 1}), axes.view()}), (Shape{n_}));
  EXPECT_EQ(*Infer(MakeNode("Squeeze", 1), {Data({1, n_, 1, 3})}), (Shape{n_, 3}));
  EXPECT_EQ(*Infer(unsqueeze, {Data({n_, 3}), axes.view()}), (Shape{1, n_, 3, 1}));
  EXPECT_THAT(Infer(squeeze, {Data({1, 2}), axes.view()}).status().message(),
              HasSubstr("axis 1 of shape [1,2] cannot be squeezed"));
  const Constant twice = Ints({0, -3});
  EXPECT_THAT(Infer(unsqueeze, {Data({2}), twice.view()}).status().message(),
              HasSubstr("axis 0 is named twice"));
  const TensorView unknown{DataType::kInt64, {1}, nullptr};
  EXPECT_EQ(Infer(unsqueeze, {Data({2}), unknown}).status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(Infer(unsqueeze, {Data({1, 1, 1, 1, 1, 1, 1}), axes.view()}).status().message(),
              HasSubstr("more than 8 axes"));
}

TEST_F(ShapeRule, BroadcastJoinsSymbols) {
  const auto add = [&](const Shape& a, const Shape& b) {
    return Infer(MakeNode("Add", 2), {Data(a), Data(b)});
  };
  EXPECT_EQ(*add({n_, 4}, {4}), (Shape{n_, 4}));
  EXPECT_EQ(*add({n_, 4}, {n_, 1}), (Shape{n_, 4}));
  EXPECT_EQ(*add({n_, 1}, {1, m_}), (Shape{n_, m_}));
  EXPECT_EQ(*add({n_}, {7}), (Shape{7}));
  EXPECT_EQ(*add({n_}, {1}), (Shape{n_}));
  EXPECT_TRUE(IsNew((*add({n_}, {m_}))[0], 2));
  EXPECT_FALSE(add({n_, 3}, {n_, 4}).ok());
}

TEST_F(ShapeRule, ConcatAndSplit) {
  const auto concat = [&](const Shape& a, const Shape& b, int64_t axis) {
    return Infer(MakeNode("Concat", 2, {{"axis", axis}}), {Data(a), Data(b)});
  };
  EXPECT_EQ(*concat({n_, 3}, {n_, 4}, 1), (Shape{n_, 7}));
  EXPECT_EQ(*concat({n_, 3}, {5, 4}, -1), (Shape{5, 7}));
  EXPECT_EQ(*concat({n_, 3}, {0, 3}, 0), (Shape{n_, 3}));
  EXPECT_TRUE(IsNew((*concat({n_, 3}, {1, 3}, 0))[0], 2));
  EXPECT_THAT(concat({n_, 3}, {n_, 4}, 0).status().message(),
              HasSubstr("input 1 has shape [N,4], which cannot be joined with [N,3] along axis 0"));
  const Node split = MakeNode("Split", 1, {{"axis", int64_t{1}}}, 3);
  EXPECT_EQ(*Infer(split, {Data({n_, 7})}), (Shape{n_, 3}));
  EXPECT_TRUE(IsNew((*Infer(split, {Data({7, n_})}))[1], 2));
}

TEST_F(ShapeRule, SliceOfASymbol) {
  const auto slice = [&](const Shape& input, int64_t start, int64_t end, int64_t step) {
    const Constant starts = Ints({start}), ends = Ints({end}), axes = Ints({0}),
                   steps = Ints({step});
    return Infer(MakeNode("Slice", 5),
                 {Data(input), starts.view(), ends.view(), axes.view(), steps.view()});
  };
  EXPECT_EQ(*slice({n_, 2}, 0, INT64_MAX, 1), (Shape{n_, 2}));
  EXPECT_EQ(*slice({n_, 2}, -1, INT64_MIN, -1), (Shape{n_, 2}));
  EXPECT_TRUE(IsNew((*slice({n_, 2}, 1, INT64_MAX, 1))[0], 2));
  EXPECT_TRUE(IsNew((*slice({n_, 2}, -2, INT64_MIN, -1))[0], 2));
  EXPECT_TRUE(IsNew((*slice({n_, 2}, 0, 3, 1))[0], 2));
  EXPECT_THAT(slice({n_, 2}, 0, 1, 0).status().message(), HasSubstr("the step of axis 0 is 0"));
}

TEST(Reshape, KeepsTheElements) {
  const auto y = RunOp(MakeNode("Reshape", 2),
                       {Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6}), Tensor<int64_t>({2}, {3, -1})});
  ASSERT_TRUE(y.ok());
  EXPECT_EQ((*y)[0].shape, (Shape{3, 2}));
  EXPECT_THAT(Values<float>((*y)[0]), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Reshape, ViewsAreMarked) {
  for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}) {
    EXPECT_TRUE(FindOp(op)->is_view) << op;
  }
}

TEST(ShapeOf, AnswersARangeOfAxes) {
  const auto x = Tensor<float>({2, 3, 4}, std::vector<float>(24));
  const auto shape = [&](Attributes attributes) {
    return Values<int64_t>((*RunOp(MakeNode("Shape", 1, std::move(attributes)), {x}))[0]);
  };
  EXPECT_THAT(shape({}), ElementsAre(2, 3, 4));
  EXPECT_THAT(shape({{"start", int64_t{-2}}}), ElementsAre(3, 4));
  EXPECT_THAT(shape({{"end", int64_t{-1}}}), ElementsAre(2, 3));
  EXPECT_THAT(shape({{"start", int64_t{1}}, {"end", int64_t{9}}}), ElementsAre(3, 4));
  EXPECT_THAT(shape({{"start", int64_t{2}}, {"end", int64_t{1}}}), ElementsAre());
  EXPECT_THAT(Values<int64_t>((*RunOp(MakeNode("Size", 1), {x}))[0]), ElementsAre(24));
}

}  // namespace
}  // namespace verdict
