#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <random>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kBatch = 2, kHeads = 4, kKvHeads = 2, kQueries = 3, kKeys = 5, kSize = 3,
                 kValueSize = 2;

struct Options {
  bool causal = false;
  double scale = 1 / std::sqrt(3.0);
  double softcap = 0;
  /// What to add to a score.
  std::function<double(size_t sample, size_t head, size_t query, size_t key)> mask =
      [](size_t, size_t, size_t, size_t) { return 0.0; };
};

/// Q, K and V as [batch, heads, length, size].
struct Problem {
  std::vector<float> q, k, v;

  Problem() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& values, size_t n) {
      for (size_t i = 0; i < n; ++i) values.push_back(normal(random));
    };
    fill(q, kBatch * kHeads * kQueries * kSize);
    fill(k, kBatch * kKvHeads * kKeys * kSize);
    fill(v, kBatch * kKvHeads * kKeys * kValueSize);
  }

  std::vector<double> Expected(const Options& options) const {
    std::vector<double> y;
    for (size_t b = 0; b < kBatch; ++b) {
      for (size_t h = 0; h < kHeads; ++h) {
        const size_t kv = b * kKvHeads + h / 2;
        for (size_t i = 0; i < kQueries; ++i) {
          double weights[kKeys];
          double sum = 0;
          for (size_t j = 0; j < kKeys; ++j) {
            double score = 0;
            for (size_t d = 0; d < kSize; ++d) {
              score += static_cast<double>(q[((b * kHeads + h) * kQueries + i) * kSize + d]) *
                       k[(kv * kKeys + j) * kSize + d];
            }
            score *= options.scale;
            if (options.softcap > 0) score = options.softcap * std::tanh(score / options.softcap);
            weights[j] = std::exp(score + options.mask(b, h, i, j));
            if (options.causal && j > i) weights[j] = 0;
            sum += weights[j];
          }
          for (size_t d = 0; d < kValueSize; ++d) {
            double value = 0;
            for (size_t j = 0; j < kKeys; ++j) {
              if (sum > 0) value += weights[j] / sum * v[(kv * kKeys + j) * kValueSize + d];
            }
            y.push_back(value);
          }
        }
      }
    }
    return y;
  }

  std::vector<Constant> Inputs() const {
    return {Tensor<float>({kBatch, kHeads, kQueries, kSize}, q),
            Tensor<float>({kBatch, kKvHeads, kKeys, kSize}, k),
            Tensor<float>({kBatch, kKvHeads, kKeys, kValueSize}, v)};
  }
};

/// [batch, heads, length, size] to [batch, length, heads * size].
template <typename T>
std::vector<T> HeadsInside(const std::vector<T>& values, size_t heads, size_t length, size_t size) {
  std::vector<T> out(values.size());
  for (size_t b = 0; b < kBatch; ++b) {
    for (size_t h = 0; h < heads; ++h) {
      for (size_t i = 0; i < length; ++i) {
        for (size_t d = 0; d < size; ++d) {
          out[((b * length + i) * heads + h) * size + d] =
              values[((b * heads + h) * length + i) * size + d];
        }
      }
    }
  }
  return out;
}

void ExpectOutput(const Node& node, const std::vector<Constant>& inputs,
                  const std::vector<double>& expected) {
  auto outputs = RunOp(node, inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
  const auto y = Values<float>((*outputs)[0]);
  ASSERT_EQ(y.size(), expected.size());
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 1e-6) << i;
}

TEST(Attention, SharesKeyHeadsBetweenQueryHeads) {
  const Problem problem;
  ExpectOutput(MakeNode("Attention", 3), problem.Inputs(), problem.Expected({}));
}

TEST(Attention, ThreeDimensionalInputs) {
  const Problem problem;
  const std::vector<Constant> inputs = {
      Tensor<float>({kBatch, kQueries, kHeads * kSize},
                    HeadsInside(problem.q, kHeads, kQueries, kSize)),
      Tensor<float>({kBatch, kKeys, kKvHeads * kSize},
                    HeadsInside(problem.k, kKvHeads, kKeys, kSize)),
      Tensor<float>({kBatch, kKeys, kKvHeads * kValueSize},
                    HeadsInside(problem.v, kKvHeads, kKeys, kValueSize))};
  const Node node = MakeNode(
      "Attention", 3, {{"q_num_heads", int64_t{kHeads}}, {"kv_num_heads", int64_t{kKvHeads}}});
  ExpectOutput(node, inputs, HeadsInside(problem.Expected({}), kHeads, kQueries, kValueSize));
  EXPECT_EQ((*RunOp(node, inputs))[0].shape, (Shape{kBatch, kQueries, kHeads * kValueSize}));
}

TEST(Attention, CausalScaleAndSoftcap) {
  const Problem problem;
  const Node node =
      MakeNode("Attention", 3, {{"is_causal", int64_t{1}}, {"scale", 0.75F}, {"softcap", 0.5F}});
  ExpectOutput(node, problem.Inputs(),
               problem.Expected({.causal = true, .scale = 0.75, .softcap = 0.5}));
}

TEST(Attention, AddsAFloatMask) {
  const Problem problem;
  std::vector<float> mask;
  for (size_t i = 0; i < kBatch * kQueries * kKeys; ++i) {
    mask.push_back(i % 7 == 0 ? -kInfinity : 0.1F * static_cast<float>(i));
  }
  auto inputs = problem.Inputs();
  inputs.push_back(Tensor<float>({kBatch, 1, kQueries, kKeys}, mask));
  ExpectOutput(MakeNode("Attention", 4), inputs,
               problem.Expected({.mask = [&](size_t b, size_t, size_t i, size_t j) {
                 return mask[(b * kQueries + i) * kKeys + j];
               }}));
}

TEST(Attention, BoolMaskKeepsWhereTrueAndAFullyMaskedRowGivesZeros) {
  const Problem problem;
  auto [mask, data] = Constant::Allocate(DataType::kBool, {kQueries, kKeys});
  bool* keep = static_cast<bool*>(data);
  for (size_t i = 0; i < kQueries * kKeys; ++i) keep[i] = i >= kKeys && i % 2 == 0;
  auto inputs = problem.Inputs();
  inputs.push_back(mask);
  ExpectOutput(MakeNode("Attention", 4), inputs,
               problem.Expected({.mask = [&](size_t, size_t, size_t i, size_t j) {
                 return keep[i * kKeys + j] ? 0 : -INFINITY;
               }}));
}

TEST(Attention, KeysPastTheMasksEndAreMaskedOut) {
  const Problem problem;
  auto inputs = problem.Inputs();
  inputs.push_back(Tensor<float>({1, 3}, {0, 1, 2}));
  ExpectOutput(MakeNode("Attention", 4), inputs,
               problem.Expected({.mask = [&](size_t, size_t, size_t, size_t j) {
                 return j < 3 ? static_cast<double>(j) : -INFINITY;
               }}));
}

// What Add and Softmax make of the same mask.
TEST(Attention, MaskAsAddTakesOneKeyForAllAndMakesNanOfAFullyMaskedRow) {
  const Problem problem;
  auto inputs = problem.Inputs();
  inputs.push_back(Tensor<float>({1, kQueries, 1}, {0.5F, -kInfinity, -1e9F}));
  const auto outputs = RunOp(MakeNode("Attention", 4, {{"mask_as_add", int64_t{1}}}), inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
  const auto y = Values<float>((*outputs)[0]);
  const auto unmasked = problem.Expected({});
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t query = i / kValueSize % kQueries;
    EXPECT_EQ(std::isnan(y[i]), query == 1) << i;
    if (query == 0) {
      EXPECT_NEAR(y[i], unmasked[i], 1e-6) << i;
    }
  }
  inputs.back() = Tensor<float>({1, 3}, {0, 1, 2});
  EXPECT_THAT(
      RunOp(MakeNode("Attention", 4, {{"mask_as_add", int64_t{1}}}), inputs).status().message(),
      HasSubstr("does not broadcast"));
}

TEST(Attention, RefusesWhatDoesNotFit) {
  const Problem problem;
  const auto status = [&](size_t input, const Constant& value, Attributes attributes = {}) {
    auto inputs = problem.Inputs();
    if (input == inputs.size()) inputs.emplace_back();
    inputs[input] = value;
    return RunOp(MakeNode("Attention", inputs.size(), std::move(attributes)), inputs).status();
  };
  const auto zeros = [](const Shape& shape) {
    return Tensor<float>(shape,
                         std::vector<float>(static_cast<size_t>(NumElements(shape).value())));
  };
  EXPECT_THAT(status(1, zeros({2, 2, 5, 4})).message(), HasSubstr("one head size"));
  EXPECT_THAT(status(1, zeros({2, 3, 5, 3})).message(), HasSubstr("they need one batch"));
  EXPECT_THAT(status(2, zeros({2, 2, 4, 2})).message(), HasSubstr("they need one batch"));
  EXPECT_THAT(status(2, zeros({2, 4, 2})).message(), HasSubstr("(V) has shape [2,4,2], needs 4"));
  EXPECT_THAT(status(3, zeros({2, 5})).message(), HasSubstr("does not broadcast to [2,4,3,5]"));
  EXPECT_THAT(status(3, zeros({3, 6})).message(), HasSubstr("does not broadcast"));
  EXPECT_TRUE(status(3, zeros({3, 5})).ok());
  EXPECT_THAT(RunOp(MakeNode("Attention", 3, {{"q_num_heads", int64_t{4}}}),
                    {zeros({1, 1, 4}), zeros({1, 1, 4}), zeros({1, 1, 4})})
                  .status()
                  .message(),
              HasSubstr("(K) has shape [1,1,4], which needs kv_num_heads"));
  auto cached = problem.Inputs();
  cached.emplace_back();
  cached.push_back(zeros({2, 2, 1, 3}));
  EXPECT_EQ(RunOp(MakeNode("Attention", 5), cached).status().code(), StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace verdict
