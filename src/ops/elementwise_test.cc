#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

/// The elements of output 0.
template <typename T>
auto Out(const std::string& op, const std::vector<Constant>& inputs, Attributes attributes = {}) {
  return Values<T>(Compute(op, inputs, std::move(attributes)));
}

template <typename T>
Constant List(std::vector<T> values) {
  const Shape shape{static_cast<Dim>(values.size())};
  return Tensor<T>(shape, std::move(values));
}

struct UnaryCase {
  const char* op;
  Attributes attributes;
  std::vector<float> x;
  std::vector<float> y;
};

TEST(Unary, ComputesTheFunction) {
  const std::vector<UnaryCase> cases = {
      {"Abs", {}, {-1.5F, 0, 2}, {1.5F, 0, 2}},
      {"Neg", {}, {-1.5F, 0, 2}, {1.5F, 0, -2}},
      {"Sign", {}, {-1.5F, 0, 2}, {-1, 0, 1}},
      {"Exp", {}, {0, 1, -1}, {1, 2.7182818F, 0.36787944F}},
      {"Log", {}, {1, 2.7182818F}, {0, 1}},
      {"Sqrt", {}, {4, 2}, {2, 1.4142135F}},
      {"Reciprocal", {}, {4, -0.5F}, {0.25F, -2}},
      {"Erf", {}, {0, 0.5F, -2}, {0, 0.5204999F, -0.9953223F}},
      {"Floor", {}, {1.5F, -1.5F}, {1, -2}},
      {"Ceil", {}, {1.5F, -1.5F}, {2, -1}},
      {"Round", {}, {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 2.4F, -2.6F}, {0, 2, 2, 0, -2, 2, -3}},
      {"Sin", {}, {0.5F}, {0.47942554F}},
      {"Cos", {}, {0.5F}, {0.87758256F}},
      {"Tan", {}, {0.5F}, {0.5463025F}},
      {"Asin", {}, {0.5F}, {0.5235988F}},
      {"Acos", {}, {0.5F}, {1.0471976F}},
      {"Atan", {}, {0.5F}, {0.4636476F}},
      {"Sinh", {}, {0.5F}, {0.5210953F}},
      {"Cosh", {}, {0.5F}, {1.1276260F}},
      {"Tanh", {}, {0.5F}, {0.46211716F}},
      {"Asinh", {}, {0.5F}, {0.48121183F}},
      {"Acosh", {}, {1.5F}, {0.9624237F}},
      {"Atanh", {}, {0.5F}, {0.54930615F}},
      {"Relu", {}, {-1, 0, 2}, {0, 0, 2}},
      {"Sigmoid", {}, {0, 2, -100, 100}, {0.5F, 0.880797F, 0, 1}},
      {"Softplus", {}, {0, 1, 100, -100}, {0.6931472F, 1.3132617F, 100, 0}},
      {"Softsign", {}, {1, -3}, {0.5F, -0.75F}},
      {"Mish", {}, {1, -1}, {0.8650984F, -0.3034015F}},
      {"HardSwish", {}, {-4, -1, 0, 1, 4}, {0, -0.3333333F, 0, 0.6666667F, 4}},
      {"LeakyRelu", {}, {-2, 3}, {-0.02F, 3}},
      {"LeakyRelu", {{"alpha", 0.5F}}, {-2, 3}, {-1, 3}},
      {"Elu", {}, {-1, 3}, {-0.6321206F, 3}},
      {"Elu", {{"alpha", 2.0F}}, {-1, 3}, {-1.2642411F, 3}},
      {"Selu", {}, {-1, 1}, {-1.1113307F, 1.0507010F}},
      {"Celu", {{"alpha", 2.0F}}, {-1, 3}, {-0.7869387F, 3}},
      {"ThresholdedRelu", {}, {1, 1.5F}, {0, 1.5F}},
      {"HardSigmoid", {}, {-3, 0, 1, 3}, {0, 0.5F, 0.7F, 1}},
      {"HardSigmoid", {{"alpha", 0.5F}, {"beta", 0.25F}}, {0, 1}, {0.25F, 0.75F}},
      {"Swish", {}, {2, -1}, {1.7615942F, -0.2689414F}},
      {"Swish", {{"alpha", 2.0F}}, {1}, {0.880797F}},
      {"Gelu", {}, {1, -1}, {0.8413447F, -0.1586553F}},
      {"Gelu", {{"approximate", std::string("tanh")}}, {1, -1}, {0.8411920F, -0.1588080F}},
  };
  for (const UnaryCase& c : cases) {
    SCOPED_TRACE(c.op);
    const auto y = Out<float>(c.op, {List<float>(c.x)}, c.attributes);
    ASSERT_EQ(y.size(), c.y.size());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], c.y[i], 1e-6) << "x = " << c.x[i];
    const auto wide = Out<double>(c.op, {List<double>(std::vector<double>(c.x.begin(), c.x.end()))},
                                  c.attributes);
    for (size_t i = 0; i < wide.size(); ++i) EXPECT_NEAR(wide[i], c.y[i], 1e-6);
  }
}

TEST(Unary, KeepsNan) {
  for (const char* op : {"Abs", "Neg", "Sign", "Relu", "Sigmoid", "LeakyRelu", "Elu", "Gelu",
                         "Round", "Tanh", "HardSigmoid", "Swish", "Celu", "Selu"}) {
    EXPECT_TRUE(std::isnan(Out<float>(op, {List<float>({kNan})})[0])) << op;
  }
}

TEST(Unary, RoundKeepsWhatHasNoFraction) {
  EXPECT_THAT(Out<float>("Round", {List<float>({kInf, -kInf, 1e30F, 16777216.F})}),
              ElementsAre(kInf, -kInf, 1e30F, 16777216.F));
}

TEST(Unary, WorksOnIntegers) {
  EXPECT_THAT(Out<int32_t>("Abs", {List<int32_t>({-5, 5, INT32_MIN})}),
              ElementsAre(5, 5, INT32_MIN));
  EXPECT_THAT(Out<int8_t>("Neg", {List<int8_t>({-5, 5, -128})}), ElementsAre(5, -5, -128));
  EXPECT_THAT(Out<uint8_t>("Sign", {List<uint8_t>({0, 200})}), ElementsAre(0, 1));
  EXPECT_THAT(Out<int64_t>("Relu", {List<int64_t>({-5, 5})}), ElementsAre(0, 5));
}

TEST(Unary, RefusesATypeByName) {
  const Status status = RunOp(MakeNode("Exp", 1), {List<int32_t>({1})}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("node 'n' (Exp): input 0 has type i32"));
}

TEST(FloatClass, TellsNanAndInfinity) {
  const auto x = List<float>({1, kNan, kInf, -kInf});
  EXPECT_THAT(Out<bool>("IsNaN", {x}), ElementsAre(false, true, false, false));
  EXPECT_THAT(Out<bool>("IsInf", {x}), ElementsAre(false, false, true, true));
  EXPECT_THAT(Out<bool>("IsInf", {x}, {{"detect_negative", int64_t{0}}}),
              ElementsAre(false, false, true, false));
  EXPECT_THAT(Out<bool>("IsInf", {x}, {{"detect_positive", int64_t{0}}}),
              ElementsAre(false, false, false, true));
}

TEST(Clip, BoundsAreOptional) {
  const auto x = List<float>({-3, 0.5F, 3, kNan});
  const auto scalar = [](float value) { return Tensor<float>({}, {value}); };
  auto y = Out<float>("Clip", {x, scalar(-1), scalar(1)});
  EXPECT_TRUE(std::isnan(y.back()));
  y.pop_back();
  EXPECT_THAT(y, ElementsAre(-1, 0.5F, 1));
  Node node = MakeNode("Clip", 3);
  node.inputs[1] = kNoValue;
  const auto upper = RunOp(node, {List<float>({-3, 3}), Constant{}, scalar(1)});
  EXPECT_THAT(Values<float>((*upper)[0]), ElementsAre(-3, 1));
  EXPECT_THAT(Out<int32_t>("Clip", {List<int32_t>({-3, 7}), Tensor<int32_t>({}, {2})}),
              ElementsAre(2, 7));
  // ONNX: where min > max, everything is max.
  EXPECT_THAT(Out<float>("Clip", {List<float>({-3, 3}), scalar(2), scalar(1)}), ElementsAre(1, 1));
  EXPECT_THAT(Message("Clip", {x, List<float>({1, 2})}), HasSubstr("min must be a scalar"));
}

struct BinaryCase {
  const char* op;
  std::vector<float> a;
  std::vector<float> b;
  std::vector<float> y;
  Attributes attributes = {};
};

TEST(Binary, ComputesTheFunction) {
  const std::vector<BinaryCase> cases = {
      {"Add", {1, 2}, {3, -5}, {4, -3}},
      {"Sub", {1, 2}, {3, -5}, {-2, 7}},
      {"Mul", {1, 2}, {3, -5}, {3, -10}},
      {"Div", {1, 2}, {4, -5}, {0.25F, -0.4F}},
      {"Div", {1, -1}, {0, 0}, {kInf, -kInf}},
      {"Pow", {2, 9}, {3, 0.5F}, {8, 3}},
      {"Mod", {5.5F, -5.5F}, {3, 3}, {2.5F, -2.5F}, {{"fmod", int64_t{1}}}},
      {"Min", {1, 2}, {3, -5}, {1, -5}},
      {"Max", {1, 2}, {3, -5}, {3, 2}},
      {"Sum", {1, 2}, {3, -5}, {4, -3}},
      {"Mean", {1, 2}, {3, -5}, {2, -1.5F}},
      {"PRelu", {-4, 2}, {0.5F, 0.5F}, {-2, 2}},
  };
  for (const BinaryCase& c : cases) {
    SCOPED_TRACE(c.op);
    const auto y = Out<float>(c.op, {List<float>(c.a), List<float>(c.b)}, c.attributes);
    EXPECT_THAT(y, ::testing::ElementsAreArray(c.y));
  }
}

TEST(Binary, IntegersWrapAndNeverTrap) {
  EXPECT_THAT(Out<int32_t>("Add", {List<int32_t>({INT32_MAX}), List<int32_t>({1})}),
              ElementsAre(INT32_MIN));
  EXPECT_THAT(Out<uint16_t>("Mul", {List<uint16_t>({65535}), List<uint16_t>({65535})}),
              ElementsAre(1));
  EXPECT_THAT(Out<int8_t>("Sub", {List<int8_t>({-128}), List<int8_t>({1})}), ElementsAre(127));
  EXPECT_THAT(Out<int32_t>("Div", {List<int32_t>({7, -7}), List<int32_t>({2, 2})}),
              ElementsAre(3, -3));
  EXPECT_THAT(Message("Div", {List<int32_t>({1, 2}), List<int32_t>({1, 0})}),
              HasSubstr("integer division by zero"));
  EXPECT_THAT(Message("Div", {List<int64_t>({INT64_MIN}), List<int64_t>({-1})}),
              HasSubstr("overflows"));
  EXPECT_THAT(Message("Mod", {List<int64_t>({1}), List<int64_t>({0})}),
              HasSubstr("modulo by zero"));
  EXPECT_THAT(Out<int64_t>("Mod", {List<int64_t>({INT64_MIN}), List<int64_t>({-1})}),
              ElementsAre(0));
}

TEST(Mod, TakesTheDivisorsSignUnlessFmod) {
  const auto a = List<int32_t>({5, -5, 5, -5});
  const auto b = List<int32_t>({3, 3, -3, -3});
  EXPECT_THAT(Out<int32_t>("Mod", {a, b}), ElementsAre(2, 1, -1, -2));
  EXPECT_THAT(Out<int32_t>("Mod", {a, b}, {{"fmod", int64_t{1}}}), ElementsAre(2, -2, 2, -2));
  EXPECT_THAT(Message("Mod", {List<float>({1}), List<float>({1})}), HasSubstr("fmod"));
}

TEST(Pow, MixesTypesAndKeepsTheBases) {
  EXPECT_THAT(Out<int64_t>("Pow", {List<int64_t>({3, -2, 7}), List<int64_t>({39, 3, 0})}),
              ElementsAre(4052555153018976267, -8, 1));
  EXPECT_THAT(Out<int32_t>("Pow", {List<int32_t>({1, -1, 5}), List<int32_t>({-3, -3, -1})}),
              ElementsAre(1, -1, 0));
  EXPECT_THAT(Out<int32_t>("Pow", {List<int32_t>({4}), List<float>({0.5F})}), ElementsAre(2));
  EXPECT_THAT(Out<float>("Pow", {List<float>({1.5F}), List<int64_t>({2})}), ElementsAre(2.25F));
  EXPECT_THAT(Message("Pow", {List<int32_t>({10}), List<float>({10})}), HasSubstr("does not fit"));
}

TEST(Variadic, FoldsAnyNumberOfInputs) {
  const auto a = List<float>({1, 5, 2});
  const auto b = Tensor<float>({2, 1}, {3, 0});
  const auto c = Tensor<float>({}, {2});
  EXPECT_THAT(Out<float>("Max", {a}), ElementsAre(1, 5, 2));
  EXPECT_THAT(Out<float>("Max", {a, b, c}), ElementsAre(3, 5, 3, 2, 5, 2));
  EXPECT_THAT(Out<float>("Min", {c, b, a}), ElementsAre(1, 2, 2, 0, 0, 0));
  EXPECT_THAT(Out<float>("Sum", {a, b, c}), ElementsAre(6, 10, 7, 3, 7, 4));
  EXPECT_THAT(Out<float>("Mean", {a, b, c}),
              ElementsAre(2, 10 / 3.F, 7 / 3.F, 1, 7 / 3.F, 4 / 3.F));
  EXPECT_THAT(Out<uint64_t>("Max", {List<uint64_t>({UINT64_MAX}), List<uint64_t>({1})}),
              ElementsAre(UINT64_MAX));
}

TEST(Variadic, MinAndMaxKeepNanFromEitherSide) {
  for (const char* op : {"Min", "Max"}) {
    for (float x : Out<float>(op, {List<float>({kNan, 1}), List<float>({1, kNan})})) {
      EXPECT_TRUE(std::isnan(x)) << op;
    }
  }
}

TEST(PRelu, SlopeBroadcastsToTheInputOnly) {
  EXPECT_THAT(Out<float>("PRelu", {Tensor<float>({2, 2}, {-1, -1, -1, 1}), List<float>({2, 3})}),
              ElementsAre(-2, -3, -2, 1));
  EXPECT_THAT(Message("PRelu", {List<float>({-1, 1}), Tensor<float>({2, 2}, {1, 2, 3, 4})}),
              HasSubstr("slope has shape [2,2]"));
}

TEST(Compare, ComparesNumbersStringsAndBools) {
  const auto a = List<float>({1, 2, 3, kNan});
  const auto b = List<float>({2, 2, 2, kNan});
  EXPECT_THAT(Out<bool>("Equal", {a, b}), ElementsAre(false, true, false, false));
  EXPECT_THAT(Out<bool>("Greater", {a, b}), ElementsAre(false, false, true, false));
  EXPECT_THAT(Out<bool>("GreaterOrEqual", {a, b}), ElementsAre(false, true, true, false));
  EXPECT_THAT(Out<bool>("Less", {a, b}), ElementsAre(true, false, false, false));
  EXPECT_THAT(Out<bool>("LessOrEqual", {a, b}), ElementsAre(true, true, false, false));
  EXPECT_THAT(
      Out<bool>("Equal", {Constant::OfStrings({2}, {"de", "fr"}), Constant::OfStrings({}, {"fr"})}),
      ElementsAre(false, true));
  EXPECT_THAT(Out<bool>("Equal", {Bools({2}, {true, false}), Bools({2}, {false, false})}),
              ElementsAre(false, true));
  EXPECT_THAT(Out<bool>("Less", {List<uint64_t>({UINT64_MAX}), List<uint64_t>({1})}),
              ElementsAre(false));
}

TEST(Logic, FollowsTheTruthTables) {
  const auto a = Bools({4}, {false, false, true, true});
  const auto b = Bools({4}, {false, true, false, true});
  EXPECT_THAT(Out<bool>("And", {a, b}), ElementsAre(false, false, false, true));
  EXPECT_THAT(Out<bool>("Or", {a, b}), ElementsAre(false, true, true, true));
  EXPECT_THAT(Out<bool>("Xor", {a, b}), ElementsAre(false, true, true, false));
  EXPECT_THAT(Out<bool>("Not", {a}), ElementsAre(true, true, false, false));
}

TEST(Where, SelectsElementsOfAnySize) {
  const auto condition = Bools({2, 1}, {true, false});
  EXPECT_THAT(Out<float>("Where", {condition, List<float>({1, 2}), Tensor<float>({}, {9})}),
              ElementsAre(1, 2, 9, 9));
  EXPECT_THAT(Out<uint8_t>("Where", {condition, List<uint8_t>({1, 2}), List<uint8_t>({3, 4})}),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Out<double>("Where", {condition, List<double>({1}), List<double>({2})}),
              ElementsAre(1, 2));
  EXPECT_THAT(Out<std::string_view>("Where", {condition, Constant::OfStrings({1}, {"yes"}),
                                              Constant::OfStrings({1}, {"no"})}),
              ElementsAre("yes", "no"));
  EXPECT_THAT(Message("Where", {condition, List<float>({1}), List<double>({1})}),
              HasSubstr("input 1 has type f32, input 2 has type f64"));
}

TEST(Broadcast, RefusesShapesAndTypesThatDoNotFit) {
  const Status shapes = RunOp(MakeNode("Add", 2), {Tensor<float>({2, 4}, std::vector<float>(8)),
                                                   Tensor<float>({3, 4}, std::vector<float>(12))})
                            .status();
  EXPECT_EQ(shapes.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(shapes.message(),
              HasSubstr("input 1 has shape [3,4], which does not broadcast with [2,4]"));
  EXPECT_THAT(Message("Add", {List<float>({1}), List<double>({1})}), HasSubstr("must be the same"));
}

TEST(Broadcast, OfNothingIsNothing) {
  EXPECT_TRUE(Out<float>("Add", {Tensor<float>({0, 3}, {}), List<float>({1, 2, 3})}).empty());
  EXPECT_TRUE(Out<float>("Max", {Tensor<float>({2, 0}, {}), List<float>({1})}).empty());
}

// Random shapes of up to 5 axes against plain index arithmetic.
class BroadcastProperty : public ::testing::Test {
 protected:
  Shape RandomShape() {
    Shape shape;
    const int rank = Pick(6);
    for (int axis = 0; axis < rank; ++axis) shape.push_back(1 + Pick(4));
    return shape;
  }

  /// A shape that broadcasts to `shape`.
  Shape Shrink(const Shape& shape) {
    const int rank = Pick(shape.rank() + 1);
    Shape small;
    for (int axis = shape.rank() - rank; axis < shape.rank(); ++axis) {
      small.push_back(Pick(2) == 0 ? 1 : shape[axis]);
    }
    return small;
  }

  Constant Fill(const Shape& shape) {
    std::vector<int32_t> values(static_cast<size_t>(NumElements(shape).value()));
    for (int32_t& value : values) value = Pick(1000) - 500;
    return Tensor<int32_t>(shape, values);
  }

  /// The element of `tensor` that stands at `index` (row-major) of the broadcast shape `output`.
  static int32_t At(const Constant& tensor, const Shape& output, int64_t index) {
    int64_t offset = 0;
    int64_t step = 1;
    for (int axis = output.rank() - 1; axis >= 0; --axis) {
      const int64_t position = index % output[axis];
      index /= output[axis];
      const int own = axis - (output.rank() - tensor.shape.rank());
      if (own < 0) continue;
      if (tensor.shape[own] != 1) offset += position * step;
      step *= tensor.shape[own];
    }
    return static_cast<const int32_t*>(tensor.data)[offset];
  }

  static Shape Joined(const Shape& a, const Shape& b) {
    Shape shape;
    const int rank = std::max(a.rank(), b.rank());
    for (int axis = 0; axis < rank; ++axis) {
      const int i = axis - (rank - a.rank());
      const int j = axis - (rank - b.rank());
      shape.push_back(std::max(i < 0 ? 1 : a[i], j < 0 ? 1 : b[j]));
    }
    return shape;
  }

  int Pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  std::mt19937 random_{20240607};
};

TEST_F(BroadcastProperty, BinaryEqualsIndexArithmetic) {
  for (int round = 0; round < 500; ++round) {
    const Shape full = RandomShape();
    const Constant a = Fill(Shrink(full));
    const Constant b = Fill(Shrink(full));
    const Shape shape = Joined(a.shape, b.shape);
    SCOPED_TRACE(ToString(a.shape) + " with " + ToString(b.shape));
    const auto sums = RunOp(MakeNode("Sub", 2), {a, b});
    const auto less = RunOp(MakeNode("Less", 2), {a, b});
    const auto least = RunOp(MakeNode("Min", 2), {a, b});
    ASSERT_TRUE(sums.ok() && less.ok() && least.ok());
    ASSERT_EQ((*sums)[0].shape, shape);
    ASSERT_EQ((*less)[0].shape, shape);
    ASSERT_EQ((*least)[0].shape, shape);
    const auto sum = Values<int32_t>((*sums)[0]);
    const auto is_less = Values<bool>((*less)[0]);
    const auto smaller = Values<int32_t>((*least)[0]);
    for (size_t i = 0; i < sum.size(); ++i) {
      const int32_t x = At(a, shape, static_cast<int64_t>(i));
      const int32_t y = At(b, shape, static_cast<int64_t>(i));
      ASSERT_EQ(sum[i], x - y);
      ASSERT_EQ(is_less[i], x < y);
      ASSERT_EQ(smaller[i], std::min(x, y));
    }
  }
}

TEST_F(BroadcastProperty, WhereEqualsIndexArithmetic) {
  for (int round = 0; round < 300; ++round) {
    const Shape full = RandomShape();
    const Constant c = Fill(Shrink(full));
    const Constant a = Fill(Shrink(full));
    const Constant b = Fill(Shrink(full));
    const Shape shape = Joined(c.shape, Joined(a.shape, b.shape));
    const auto zero = RunOp(MakeNode("Less", 2), {c, Tensor<int32_t>({}, {0})});
    ASSERT_TRUE(zero.ok());
    const auto result = RunOp(MakeNode("Where", 3), {(*zero)[0], a, b});
    ASSERT_TRUE(result.ok());
    ASSERT_EQ((*result)[0].shape, shape);
    const auto y = Values<int32_t>((*result)[0]);
    for (size_t i = 0; i < y.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      ASSERT_EQ(y[i], At(c, shape, index) < 0 ? At(a, shape, index) : At(b, shape, index));
    }
  }
}

}  // namespace
}  // namespace verdict
