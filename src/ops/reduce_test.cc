#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();

const Attributes kDropDims = {{"keepdims", int64_t{0}}};

struct ReduceCase {
  const char* op;
  float rows[2];  // of [[1, 2, 3], [-4, 5, 6]]
};

TEST(Reduce, ComputesTheFunction) {
  const auto x = Tensor<float>({2, 3}, {1, 2, 3, -4, 5, 6});
  const ReduceCase cases[] = {
      {"ReduceSum", {6, 7}},
      {"ReduceMean", {2, 7.F / 3}},
      {"ReduceMax", {3, 6}},
      {"ReduceMin", {1, -4}},
      {"ReduceProd", {6, -120}},
      {"ReduceL1", {6, 15}},
      {"ReduceL2", {std::sqrt(14.F), std::sqrt(77.F)}},
      {"ReduceSumSquare", {14, 77}},
      {"ReduceLogSum", {std::log(6.F), std::log(7.F)}},
      {"ReduceLogSumExp", {3.4076059F, 6.3132950F}},
  };
  for (const ReduceCase& c : cases) {
    SCOPED_TRACE(c.op);
    const auto y = Compute(c.op, {x, Ints({-1})});
    EXPECT_EQ(y.shape, (Shape{2, 1}));
    const auto values = Values<float>(y);
    ASSERT_EQ(values.size(), 2U);
    EXPECT_FLOAT_EQ(values[0], c.rows[0]);
    EXPECT_FLOAT_EQ(values[1], c.rows[1]);
  }
}

TEST(Reduce, AnySetOfAxes) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.F);
  const auto x = Tensor<float>({2, 3, 4}, values);
  EXPECT_THAT(Values<float>(Compute("ReduceSum", {x})), ElementsAre(276));
  EXPECT_EQ(Compute("ReduceSum", {x}).shape, (Shape{1, 1, 1}));
  EXPECT_EQ(Compute("ReduceSum", {x}, kDropDims).shape, (Shape{}));
  const auto y = Compute("ReduceSum", {x, Ints({0, 2})}, kDropDims);
  EXPECT_EQ(y.shape, (Shape{3}));
  EXPECT_THAT(Values<float>(y), ElementsAre(60, 92, 124));
  const auto z = Compute("ReduceSum", {x, Ints({1})}, kDropDims);
  EXPECT_EQ(z.shape, (Shape{2, 4}));
  EXPECT_THAT(Values<float>(z), ElementsAre(12, 15, 18, 21, 48, 51, 54, 57));
}

TEST(Reduce, NoAxesReduceAllOrNothing) {
  const auto x = Tensor<float>({2, 2}, {1, -2, 3, 4});
  const auto none = Ints({});
  const Attributes noop = {{"noop_with_empty_axes", int64_t{1}}};
  EXPECT_THAT(Values<float>(Compute("ReduceSum", {x, none})), ElementsAre(6));
  EXPECT_THAT(Values<float>(Compute("ReduceSum", {x, none}, noop)), ElementsAre(1, -2, 3, 4));
  EXPECT_THAT(Values<float>(Compute("ReduceSum", {x}, noop)), ElementsAre(1, -2, 3, 4));
  EXPECT_THAT(Values<float>(Compute("ReduceSumSquare", {x, none}, noop)), ElementsAre(1, 4, 9, 16));
}

TEST(Reduce, OfNothing) {
  const auto x = Tensor<float>({2, 0}, {});
  EXPECT_THAT(Values<float>(Compute("ReduceSum", {x, Ints({1})})), ElementsAre(0, 0));
  EXPECT_THAT(Values<float>(Compute("ReduceProd", {x, Ints({1})})), ElementsAre(1, 1));
  EXPECT_THAT(Values<float>(Compute("ReduceMax", {x, Ints({1})})), ElementsAre(-kInf, -kInf));
  EXPECT_THAT(Values<float>(Compute("ReduceLogSumExp", {x, Ints({1})})), ElementsAre(-kInf, -kInf));
  EXPECT_TRUE(std::isnan(Values<float>(Compute("ReduceMean", {x, Ints({1})}))[0]));
  const auto integers = RunOp(MakeNode("ReduceMean", 1), {Tensor<int32_t>({0}, {})});
  EXPECT_THAT(integers.status().message(), HasSubstr("the mean of no integers"));
}

TEST(Reduce, SumsInDoubleSoThatSmallTermsCount) {
  std::vector<float> values(100001, 1e-4F);
  values[0] = 1e4F;
  const auto x = Tensor<float>({100001}, values);
  EXPECT_NEAR(Values<float>(Compute("ReduceSum", {x}))[0], 10010, 1e-2);
}

TEST(Reduce, LogSumExpDoesNotOverflow) {
  const auto y = Values<float>(Compute("ReduceLogSumExp", {Tensor<float>({2}, {1000, 1000})}));
  EXPECT_FLOAT_EQ(y[0], 1000 + std::log(2.F));
  EXPECT_EQ(Values<float>(Compute("ReduceLogSumExp", {Tensor<float>({2}, {-kInf, -kInf})}))[0],
            -kInf);
}

TEST(Reduce, IntegersAndBools) {
  EXPECT_THAT(Values<int64_t>(Compute("ReduceSum", {Ints({1, 2, 3})})), ElementsAre(6));
  EXPECT_THAT(Values<int64_t>(Compute("ReduceMean", {Ints({1, 2, 4})})), ElementsAre(2));
  EXPECT_THAT(Values<int64_t>(Compute("ReduceL1", {Ints({-1, 2})})), ElementsAre(3));
  EXPECT_THAT(Values<uint8_t>(Compute("ReduceMax", {Tensor<uint8_t>({2}, {7, 200})})),
              ElementsAre(200));
  const auto b = Bools({2}, {true, false});
  EXPECT_THAT(Values<bool>(Compute("ReduceMax", {b})), ElementsAre(true));
  EXPECT_THAT(Values<bool>(Compute("ReduceMin", {b})), ElementsAre(false));
}

TEST(Reduce, RefusesBadAxesAndTypes) {
  const auto x = Tensor<float>({2, 3}, std::vector<float>(6));
  const auto message = [&](const std::string& op, const Constant& data, const Constant& axes) {
    auto result = RunOp(MakeNode(op, 2), {data, axes});
    EXPECT_FALSE(result.ok());
    return result.status().message();
  };
  EXPECT_THAT(message("ReduceSum", x, Ints({2})), HasSubstr("axis 2 is out of range for rank 2"));
  EXPECT_THAT(message("ReduceSum", x, Ints({0, -2})), HasSubstr("axis 0 is named twice"));
  EXPECT_THAT(message("ReduceSum", x, Tensor<int64_t>({}, {0})), HasSubstr("must be a list"));
  EXPECT_THAT(message("ReduceL2", Ints({1}), Ints({0})), HasSubstr("has type i64"));
}

TEST(Reduce, ShapeRuleKeepsSymbols) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const Constant axes = Ints({1});
  const TensorView x{DataType::kFloat32, {n, 4}, nullptr};
  std::vector<TensorView> outputs(1);
  ASSERT_TRUE(
      InferNode(MakeNode("ReduceMean", 2, kDropDims), std::vector{x, axes.view()}, outputs, &graph)
          .ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n}));
  const TensorView unknown{DataType::kInt64, {1}, nullptr};
  EXPECT_EQ(
      InferNode(MakeNode("ReduceMean", 2, kDropDims), std::vector{x, unknown}, outputs, &graph)
          .code(),
      StatusCode::kUnimplemented);
  ASSERT_TRUE(InferNode(MakeNode("ReduceMean", 2), std::vector{x, unknown}, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape.rank(), 2);
}

}  // namespace
}  // namespace verdict
