#include <gmock/gmock.h>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Constant Table(const Shape& shape, std::vector<int64_t> values) {
  return Tensor<int64_t>(shape, std::move(values));
}

TEST(GatherElements, PicksOnePerPosition) {
  const auto x = Iota({3, 3});
  const auto rows = Compute("GatherElements", {x, Table({2, 3}, {1, 2, 0, 2, 0, -3})});
  EXPECT_EQ(rows.shape, (Shape{2, 3}));
  EXPECT_THAT(Values<float>(rows), ElementsAre(3, 7, 2, 6, 1, 2));
  const auto columns =
      Compute("GatherElements", {x, Table({3, 1}, {2, 0, -1})}, {{"axis", int64_t{1}}});
  EXPECT_THAT(Values<float>(columns), ElementsAre(2, 3, 8));
  EXPECT_THAT(Message("GatherElements", {x, Table({1, 1}, {3})}),
              HasSubstr("index 3 is out of range for axis 0 of extent 3"));
  EXPECT_THAT(Message("GatherElements", {x, Table({1, 4}, {0, 0, 0, 0})}),
              HasSubstr("does not fit into the data's [3,3]"));
}

TEST(GatherNd, PicksBlocksByCoordinates) {
  const auto x = Iota({2, 2, 2});
  const auto elements = Compute("GatherND", {x, Table({2, 3}, {0, 0, 1, 1, -1, 0})});
  EXPECT_EQ(elements.shape, (Shape{2}));
  EXPECT_THAT(Values<float>(elements), ElementsAre(1, 6));
  const auto blocks = Compute("GatherND", {x, Table({2, 1}, {1, 0})});
  EXPECT_EQ(blocks.shape, (Shape{2, 2, 2}));
  EXPECT_THAT(Values<float>(blocks), ElementsAre(4, 5, 6, 7, 0, 1, 2, 3));
  const auto batched =
      Compute("GatherND", {x, Table({2, 1}, {1, 0})}, {{"batch_dims", int64_t{1}}});
  EXPECT_EQ(batched.shape, (Shape{2, 2}));
  EXPECT_THAT(Values<float>(batched), ElementsAre(2, 3, 4, 5));
}

TEST(GatherNd, RefusesWhatDoesNotFit) {
  const auto x = Iota({2, 2});
  EXPECT_THAT(Message("GatherND", {x, Table({1, 2}, {0, 2})}),
              HasSubstr("index 2 is out of range for axis 1 of extent 2"));
  EXPECT_THAT(Message("GatherND", {x, Table({1, 3}, {0, 0, 0})}),
              HasSubstr("indices of shape [1,3] do not fit data of shape [2,2]"));
  EXPECT_THAT(Message("GatherND", {x, Table({1, 1}, {0})}, {{"batch_dims", int64_t{2}}}),
              HasSubstr("batch_dims is 2"));
  EXPECT_THAT(Message("GatherND", {x, Table({3, 1}, {0, 0, 0})}, {{"batch_dims", int64_t{1}}}),
              HasSubstr("do not fit"));
}

TEST(ScatterElements, PutsUpdatesAndReduces) {
  const auto x = Tensor<float>({1, 5}, {1, 2, 3, 4, 5});
  const auto indices = Table({1, 3}, {1, 3, 1});
  const auto updates = Tensor<float>({1, 3}, {10, 0.5F, 3});
  const auto scatter = [&](std::string reduction) {
    return Values<float>(Compute("ScatterElements", {x, indices, updates},
                                 {{"axis", int64_t{1}}, {"reduction", std::move(reduction)}}));
  };
  EXPECT_THAT(scatter("none"), ElementsAre(1, 3, 3, 0.5F, 5));
  EXPECT_THAT(scatter("add"), ElementsAre(1, 15, 3, 4.5F, 5));
  EXPECT_THAT(scatter("mul"), ElementsAre(1, 60, 3, 2, 5));
  EXPECT_THAT(scatter("max"), ElementsAre(1, 10, 3, 4, 5));
  EXPECT_THAT(scatter("min"), ElementsAre(1, 2, 3, 0.5F, 5));
}

TEST(ScatterElements, RefusesWhatDoesNotFit) {
  const auto x = Iota({2, 2});
  EXPECT_THAT(Message("ScatterElements", {x, Table({1, 1}, {-3}), Iota({1, 1})}),
              HasSubstr("index -3 is out of range"));
  EXPECT_THAT(Message("ScatterElements", {x, Table({1, 1}, {0}), Iota({1, 2})}),
              HasSubstr("input 2 (updates) has shape [1,2], needs [1,1]"));
  EXPECT_THAT(Message("ScatterElements", {x, Table({1, 1}, {0}), Iota({1, 1})},
                      {{"reduction", std::string("sum")}}),
              HasSubstr("reduction is 'sum'"));
  const auto strings = Constant::OfStrings({1}, {"a"});
  EXPECT_THAT(Message("ScatterElements", {strings, Ints({0}), strings},
                      {{"reduction", std::string("add")}}),
              HasSubstr("has type str"));
}

TEST(ScatterNd, PutsBlocks) {
  const auto y = Compute(
      "ScatterND", {Iota({3, 2}), Table({2, 1}, {2, 0}), Tensor<float>({2, 2}, {20, 21, 22, 23})});
  EXPECT_THAT(Values<float>(y), ElementsAre(22, 23, 2, 3, 20, 21));
  const auto added =
      Compute("ScatterND", {Iota({4}), Table({3, 1}, {1, 1, 3}), Tensor<float>({3}, {10, 20, 30})},
              {{"reduction", std::string("add")}});
  EXPECT_THAT(Values<float>(added), ElementsAre(0, 31, 2, 33));
  EXPECT_THAT(Message("ScatterND", {Iota({3, 2}), Table({1, 1}, {0}), Iota({2})}),
              HasSubstr("input 2 (updates) has shape [2], needs [1,2]"));
  EXPECT_THAT(Message("ScatterND", {Iota({3}), Table({1, 1}, {3}), Iota({1})}),
              HasSubstr("index 3 is out of range"));
}

TEST(GatherRules, KeepSymbols) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const TensorView data{DataType::kFloat32, {100, 16}, nullptr};
  const TensorView ids{DataType::kInt64, {n, 3}, nullptr};
  std::vector<TensorView> outputs(1);
  ASSERT_TRUE(InferNode(MakeNode("Gather", 2), std::vector{data, ids}, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n, 3, 16}));
  const TensorView deep{DataType::kInt64, {n, 2}, nullptr};
  ASSERT_TRUE(InferNode(MakeNode("GatherND", 2), std::vector{data, deep}, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n}));
  const TensorView big{DataType::kFloat32, {1, 1, 1, 1, 1, 1, 1, 1}, nullptr};
  EXPECT_THAT(InferNode(MakeNode("Gather", 2), std::vector{big, ids}, outputs, &graph).message(),
              HasSubstr("more than 8 axes"));
}

}  // namespace
}  // namespace verdict
