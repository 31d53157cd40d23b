#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

using Ints = std::vector<int64_t>;

Constant RunOne(const Node& node, const std::vector<Constant>& inputs) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? (*outputs)[0] : Tensor<float>({0}, {});
}

/// 1, 2, 3, ... of a shape.
Constant Counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(NumElements(shape).value()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  return Tensor<float>(shape, values);
}

TEST(Conv, OneAxisWithPaddingStrideAndDilation) {
  const Constant x = Counting({1, 1, 6});
  const Constant w = Tensor<float>({1, 1, 3}, {1, 10, 100});
  const auto run = [&](Attributes attributes) {
    return Values<float>(RunOne(MakeNode("Conv", 2, std::move(attributes)), {x, w}));
  };
  EXPECT_THAT(run({}), ElementsAre(321, 432, 543, 654));
  EXPECT_THAT(run({{"pads", Ints{1, 2}}}), ElementsAre(210, 321, 432, 543, 654, 65, 6));
  EXPECT_THAT(run({{"strides", Ints{2}}}), ElementsAre(321, 543));
  EXPECT_THAT(run({{"strides", Ints{3}}, {"pads", Ints{1, 1}}}), ElementsAre(210, 543));
  EXPECT_THAT(run({{"dilations", Ints{2}}}), ElementsAre(531, 642));
  EXPECT_THAT(run({{"dilations", Ints{2}}, {"pads", Ints{4, 0}}}),
              ElementsAre(100, 200, 310, 420, 531, 642));  // causal
}

TEST(Conv, AutoPad) {
  const Constant x = Counting({1, 1, 4});
  const Constant w = Tensor<float>({1, 1, 2}, {1, 10});
  const auto run = [&](const char* auto_pad, int64_t stride) {
    return Values<float>(RunOne(
        MakeNode("Conv", 2, {{"auto_pad", std::string(auto_pad)}, {"strides", Ints{stride}}}),
        {x, w}));
  };
  EXPECT_THAT(run("VALID", 1), ElementsAre(21, 32, 43));
  EXPECT_THAT(run("SAME_UPPER", 1), ElementsAre(21, 32, 43, 4));
  EXPECT_THAT(run("SAME_LOWER", 1), ElementsAre(10, 21, 32, 43));
  EXPECT_THAT(run("SAME_UPPER", 3), ElementsAre(21, 4));
}

/// Straight from the definition, in double.
std::vector<double> Naive(const std::vector<float>& x, const Shape& xs, const std::vector<float>& w,
                          const Shape& ws, const std::vector<float>& b, const Ints& stride,
                          const Ints& dilation, const Ints& pads, int64_t group, const Shape& ys) {
  std::vector<double> y;
  for (int64_t n = 0; n < ys[0]; ++n) {
    for (int64_t m = 0; m < ys[1]; ++m) {
      for (int64_t oy = 0; oy < ys[2]; ++oy) {
        for (int64_t ox = 0; ox < ys[3]; ++ox) {
          double sum = b[static_cast<size_t>(m)];
          for (int64_t c = 0; c < ws[1]; ++c) {
            for (int64_t ky = 0; ky < ws[2]; ++ky) {
              for (int64_t kx = 0; kx < ws[3]; ++kx) {
                const int64_t iy = oy * stride[0] + ky * dilation[0] - pads[0];
                const int64_t ix = ox * stride[1] + kx * dilation[1] - pads[1];
                if (iy < 0 || ix < 0 || iy >= xs[2] || ix >= xs[3]) continue;
                const int64_t channel = m / (ws[0] / group) * ws[1] + c;
                const int64_t at = ((n * xs[1] + channel) * xs[2] + iy) * xs[3] + ix;
                const int64_t weight = ((m * ws[1] + c) * ws[2] + ky) * ws[3] + kx;
                sum += static_cast<double>(x[static_cast<size_t>(at)]) *
                       w[static_cast<size_t>(weight)];
              }
            }
          }
          y.push_back(sum);
        }
      }
    }
  }
  return y;
}

TEST(Conv, TwoAxesWithGroupsEqualsTheDefinition) {
  const Shape xs{2, 4, 7, 6};
  const Shape ws{6, 2, 3, 2};
  const Shape ys{2, 6, 4, 6};
  const Ints stride{2, 1};
  const Ints dilation{1, 2};
  const Ints pads{1, 0, 2, 2};
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const auto draw = [&](size_t n) {
    std::vector<float> values(n);
    for (float& v : values) v = normal(random);
    return values;
  };
  const auto x = draw(2 * 4 * 7 * 6);
  const auto w = draw(6 * 2 * 3 * 2);
  const auto b = draw(6);
  const Constant y = RunOne(MakeNode("Conv", 3,
                                     {{"strides", stride},
                                      {"dilations", dilation},
                                      {"pads", pads},
                                      {"group", int64_t{2}},
                                      {"kernel_shape", Ints{3, 2}}}),
                            {Tensor<float>(xs, x), Tensor<float>(ws, w), Tensor<float>({6}, b)});
  ASSERT_EQ(y.shape, ys);
  const auto expected = Naive(x, xs, w, ws, b, stride, dilation, pads, 2, ys);
  const auto actual = Values<float>(y);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-5) << i;
}

TEST(Conv, KeepsASymbolicLengthWhereTheWindowDoes) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const Dim length = graph.Symbol("T");
  const TensorView inputs[] = {{DataType::kFloat32, {n, 2, length}, nullptr},
                               {DataType::kFloat32, {3, 2, 5}, nullptr}};
  TensorView outputs[1];
  ASSERT_TRUE(InferNode(MakeNode("Conv", 2, {{"pads", Ints{2, 2}}}), inputs, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n, 3, length}));
  ASSERT_TRUE(InferNode(MakeNode("Conv", 2), inputs, outputs, &graph).ok());
  EXPECT_TRUE(IsSymbol(outputs[0].shape[2]));
  EXPECT_NE(outputs[0].shape[2], length);
}

TEST(Conv, RefusesWhatDoesNotFit) {
  const Constant x = Counting({1, 4, 3});
  const auto message = [&](Attributes attributes, const Shape& w) {
    return RunOp(MakeNode("Conv", 2, std::move(attributes)), {x, Counting(w)}).status().message();
  };
  EXPECT_EQ(message({{"group", int64_t{2}}}, {2, 2, 3}), "");
  EXPECT_THAT(message({}, {2, 2, 3}), HasSubstr("with 1 groups, X's channels must be"));
  EXPECT_THAT(message({{"group", int64_t{2}}}, {3, 2, 3}), HasSubstr("with 2 groups"));
  EXPECT_THAT(message({{"group", int64_t{0}}}, {2, 4, 3}), HasSubstr("with 0 groups"));
  EXPECT_THAT(message({{"group", INT64_MAX}}, {0, 4, 3}), HasSubstr("groups"));
  EXPECT_THAT(message({}, {2, 4, 4}), HasSubstr("smaller than the window"));
  EXPECT_THAT(message({}, {2, 4, 1, 1}), HasSubstr("(W) has shape [2,4,1,1], needs 3 dimensions"));
  EXPECT_THAT(message({{"strides", Ints{0}}}, {2, 4, 1}), HasSubstr("strides needs 1 entries"));
  EXPECT_THAT(message({{"strides", Ints{1, 1}}}, {2, 4, 1}), HasSubstr("strides needs 1 entries"));
  EXPECT_THAT(message({{"pads", Ints{-1, 0}}}, {2, 4, 1}), HasSubstr("pads needs 2 entries"));
  EXPECT_THAT(message({{"pads", Ints{INT64_MAX, 0}}}, {2, 4, 1}), HasSubstr("pads needs 2"));
  EXPECT_THAT(message({{"auto_pad", std::string("SAME")}}, {2, 4, 1}), HasSubstr("auto_pad"));
  EXPECT_THAT(message({{"kernel_shape", Ints{2}}}, {2, 4, 1}), HasSubstr("kernel_shape"));
}

// Expectations of the pools are ONNX Runtime's own outputs.

struct PoolCase {
  Ints pads;
  int64_t kernel, stride, dilation, ceil_mode, count_include_pad;
  std::vector<float> average, max;
};

TEST(Pool, OneAxisInEveryMode) {
  const PoolCase cases[] = {{{0, 0}, 3, 2, 1, 0, 0, {2, 4}, {3, 5}},
                            {{1, 1}, 2, 3, 1, 0, 0, {1, 3.5F, 6}, {1, 4, 6}},
                            {{1, 1}, 2, 3, 1, 0, 1, {0.5F, 3.5F, 3}, {1, 4, 6}},
                            {{1, 1}, 3, 2, 2, 0, 1, {2, 4}, {4, 6}},
                            {{0, 0}, 3, 2, 1, 1, 0, {2, 4, 5.5F}, {3, 5, 6}},
                            {{1, 0}, 4, 4, 1, 1, 1, {1.5F, 5}, {3, 6}},
                            {{0, 0}, 2, 3, 1, 1, 0, {1.5F, 4.5F}, {2, 5}},
                            {{0, 2}, 3, 2, 2, 1, 1, {3, 8.F / 3, 2.5F}, {5, 5, 5}},
                            {{1, 1}, 2, 3, 2, 1, 1, {1, 4, 6}, {2, 5, 6}},
                            {{0, 0}, 4, 3, 2, 1, 0, {3}, {5}}};
  for (const PoolCase& c : cases) {
    Attributes attributes = {{"kernel_shape", Ints{c.kernel}},
                             {"strides", Ints{c.stride}},
                             {"dilations", Ints{c.dilation}},
                             {"pads", c.pads},
                             {"ceil_mode", c.ceil_mode}};
    const Constant x = Counting({1, 1, 6});
    EXPECT_EQ(Values<float>(RunOne(MakeNode("MaxPool", 1, attributes), {x})), c.max);
    attributes["count_include_pad"] = c.count_include_pad;
    EXPECT_THAT(Values<float>(RunOne(MakeNode("AveragePool", 1, attributes), {x})),
                Pointwise(FloatNear(1e-6F), c.average));
  }
}

TEST(Pool, AutoPad) {
  const auto run = [](const char* op, const char* auto_pad, int64_t kernel, int64_t stride) {
    return Values<float>(RunOne(MakeNode(op, 1,
                                         {{"kernel_shape", Ints{kernel}},
                                          {"strides", Ints{stride}},
                                          {"auto_pad", std::string(auto_pad)}}),
                                {Counting({1, 1, 6})}));
  };
  EXPECT_THAT(run("AveragePool", "SAME_UPPER", 4, 1), ElementsAre(2, 2.5F, 3.5F, 4.5F, 5, 5.5F));
  EXPECT_THAT(run("AveragePool", "SAME_LOWER", 4, 1), ElementsAre(1.5F, 2, 2.5F, 3.5F, 4.5F, 5));
  EXPECT_THAT(run("MaxPool", "VALID", 2, 2), ElementsAre(2, 4, 6));
}

TEST(Pool, TwoAxes) {
  const Constant x = Counting({1, 2, 3, 3});
  const Attributes attributes = {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 0, 0, 0}}};
  const Constant max = RunOne(MakeNode("MaxPool", 1, attributes), {x});
  EXPECT_EQ(max.shape, (Shape{1, 2, 3, 2}));
  EXPECT_THAT(Values<float>(max), ElementsAre(2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18));
  const Constant average = RunOne(MakeNode("AveragePool", 1, attributes), {x});
  EXPECT_THAT(Values<float>(average),
              ElementsAre(1.5F, 2.5F, 3, 4, 6, 7, 10.5F, 11.5F, 12, 13, 15, 16));
}

TEST(Pool, MaxPassesOverNaN) {
  EXPECT_THAT(Values<float>(RunOne(MakeNode("MaxPool", 1, {{"kernel_shape", Ints{2}}}),
                                   {Tensor<float>({1, 1, 4}, {NAN, 1, 2, NAN})})),
              ElementsAre(1, 2, 2));
}

TEST(Pool, DeclinesIndicesAndWrongWindows) {
  Node node = MakeNode("MaxPool", 1, {{"kernel_shape", Ints{2}}}, 2);
  EXPECT_EQ(RunOp(node, {Counting({1, 1, 4})}).status().code(), StatusCode::kUnimplemented);
  node.outputs[1] = kNoValue;
  EXPECT_TRUE(RunOp(node, {Counting({1, 1, 4})}).ok());
  EXPECT_THAT(RunOp(node, {Counting({1, 1, 4, 4})}).status().message(),
              HasSubstr("kernel_shape has 1 entries for 2 axes"));
}

TEST(GlobalPool, ReducesAllSpatialAxes) {
  const Constant x = Counting({1, 2, 2, 2});
  const Constant average = RunOne(MakeNode("GlobalAveragePool", 1), {x});
  EXPECT_EQ(average.shape, (Shape{1, 2, 1, 1}));
  EXPECT_THAT(Values<float>(average), ElementsAre(2.5F, 6.5F));
  EXPECT_THAT(Values<float>(RunOne(MakeNode("GlobalMaxPool", 1), {x})), ElementsAre(4, 8));
  EXPECT_FALSE(RunOp(MakeNode("GlobalMaxPool", 1), {Counting({1, 2, 0})}).ok());
}

}  // namespace
}  // namespace verdict
