#include <gmock/gmock.h>

#include <cmath>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

const Constant kTwoLabels = Tensor<int64_t>({2}, {3, 7});
const Constant kThreeLabels = Tensor<int64_t>({3}, {3, 7, 9});

struct Output {
  std::vector<int64_t> labels;
  std::vector<float> scores;
};

Output Classify(Attributes attributes, const Constant& raw, const Constant& labels) {
  auto outputs = RunOp(MakeNode("ClassifierOutput", 2, std::move(attributes), 2), {raw, labels});
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  if (!outputs.ok()) return {};
  return {Values<int64_t>((*outputs)[0]), Values<float>((*outputs)[1])};
}

Attributes Transform(const char* name) { return {{"post_transform", std::string(name)}}; }

// The numbers of this file are ONNX Runtime's own outputs.

TEST(ClassifierOutput, BinaryLinearRule) {
  const Constant raw = Tensor<float>({3, 1}, {-0.8F, 0.24F, 0.8F});
  Attributes attributes = {{"complement", int64_t{1}}};
  for (const char* name : {"NONE", "SOFTMAX", "SOFTMAX_ZERO"}) {
    attributes["post_transform"] = std::string(name);
    const Output output = Classify(attributes, raw, kTwoLabels);
    EXPECT_THAT(output.labels, ElementsAre(3, 7, 7)) << name;
    EXPECT_THAT(output.scores, Pointwise(FloatNear(1e-6F), {1.8F, -0.8F, 0.76F, 0.24F, 0.2F, 0.8F}))
        << name;
  }
  attributes["post_transform"] = std::string("LOGISTIC");
  EXPECT_THAT(Classify(attributes, raw, kTwoLabels).scores,
              Pointwise(FloatNear(1e-4F), {0.69F, 0.31F, 0.4403F, 0.5597F, 0.31F, 0.69F}));
}

TEST(ClassifierOutput, BinaryTreeRuleForPositiveWeights) {
  const Constant raw = Tensor<float>({2, 1}, {0.2F, 0.8F});
  const Output output =
      Classify({{"complement", int64_t{1}}, {"label_threshold", 0.5F}}, raw, kTwoLabels);
  EXPECT_THAT(output.labels, ElementsAre(3, 7));
  EXPECT_THAT(output.scores, Pointwise(FloatNear(1e-6F), {0.8F, 0.2F, 0.2F, 0.8F}));
}

TEST(ClassifierOutput, BinaryTreeRuleForMixedWeights) {
  const Constant raw = Tensor<float>({3, 1}, {-0.2F, 0.8F, 0});
  const Output none = Classify({}, raw, kTwoLabels);
  EXPECT_THAT(none.labels, ElementsAre(3, 7, 3));
  EXPECT_THAT(none.scores, Pointwise(FloatNear(1e-6F), {0.2F, -0.2F, -0.8F, 0.8F, 0.0F, 0.0F}));
  EXPECT_THAT(Classify(Transform("LOGISTIC"), raw, kTwoLabels).scores,
              Pointwise(FloatNear(1e-4F), {0.5498F, 0.4502F, 0.31F, 0.69F, 0.5F, 0.5F}));
}

TEST(ClassifierOutput, LogisticKeepsSmallScores) {
  const Output output = Classify(Transform("LOGISTIC"), Tensor<float>({1, 1}, {-30}), kTwoLabels);
  EXPECT_NEAR(output.scores[1] / 9.35762297e-14F, 1, 1e-5);
}

TEST(ClassifierOutput, ManyClassesTakeTheGreatestRawScore) {
  const Constant raw = Tensor<float>({3, 3}, {-0.8F, 0.8F, 0, 0.24F, -0.24F, 0.13F, 1, 0, 1});
  EXPECT_THAT(Classify({}, raw, kThreeLabels).labels, ElementsAre(7, 3, 3));
  EXPECT_EQ(Classify({}, raw, kThreeLabels).scores, Values<float>(raw));
}

TEST(ClassifierOutput, AppliesEachPostTransform) {
  const Constant raw = Tensor<float>({1, 3}, {-0.8F, 0.8F, 0});
  const auto scores = [&](const char* name) {
    return Classify(Transform(name), raw, kThreeLabels).scores;
  };
  EXPECT_THAT(scores("LOGISTIC"), Pointwise(FloatNear(1e-4F), {0.31F, 0.69F, 0.5F}));
  EXPECT_THAT(scores("SOFTMAX"), Pointwise(FloatNear(1e-4F), {0.1223F, 0.6056F, 0.2721F}));
  EXPECT_THAT(scores("SOFTMAX_ZERO"), Pointwise(FloatNear(1e-4F), {0.168F, 0.832F, 0.0F}));
  const auto probit = scores("PROBIT");
  EXPECT_TRUE(std::isnan(probit[0]));
  EXPECT_NEAR(probit[1], 0.8418F, 1e-4);
  EXPECT_EQ(probit[2], -INFINITY);
}

TEST(ClassifierOutput, GivesStringLabels) {
  const Constant labels = Constant::OfStrings({2}, {"legitimate", "fraudulent transaction"});
  auto outputs =
      RunOp(MakeNode("ClassifierOutput", 2), {Tensor<float>({2, 2}, {1, 2, 4, 3}), labels});
  ASSERT_TRUE(outputs.ok());
  EXPECT_THAT(Values<std::string_view>((*outputs)[0]),
              ElementsAre("fraudulent transaction", "legitimate"));
}

TEST(ClassifierOutput, WorksWithEitherOutputLeftOut) {
  for (size_t left_out : {0, 1}) {
    Node node = MakeNode("ClassifierOutput", 2, {}, 2);
    node.outputs[left_out] = kNoValue;
    auto outputs = RunOp(node, {Tensor<float>({1, 2}, {1, 2}), kTwoLabels});
    ASSERT_TRUE(outputs.ok());
    if (left_out == 1) {
      EXPECT_THAT(Values<int64_t>((*outputs)[0]), ElementsAre(7));
    } else {
      EXPECT_THAT(Values<float>((*outputs)[1]), ElementsAre(1, 2));
    }
  }
}

TEST(ClassifierOutput, RefusesWhatDoesNotFit) {
  const auto status = [](Attributes attributes, const Shape& raw, const Constant& labels) {
    return RunOp(MakeNode("ClassifierOutput", 2, std::move(attributes), 2),
                 {Tensor<float>(raw, std::vector<float>(static_cast<size_t>(raw[1]))), labels})
        .status();
  };
  EXPECT_THAT(status({}, {1, 2}, kThreeLabels).message(),
              HasSubstr("raw scores) has shape [1,2] and input 1 (labels) has shape [3]"));
  EXPECT_THAT(status({}, {1, 1}, kThreeLabels).message(), HasSubstr("a column for each label"));
  EXPECT_THAT(status(Transform("LOGIT"), {1, 2}, kTwoLabels).message(),
              HasSubstr("unknown post_transform 'LOGIT'"));
  EXPECT_EQ(status(Transform("PROBIT"), {1, 1}, kTwoLabels).code(), StatusCode::kUnimplemented);
}

TEST(PostTransform, LeavesASingleScoreAloneExceptForProbit) {
  const auto run = [](const char* name, const Constant& x) {
    auto outputs = RunOp(MakeNode("PostTransform", 1, Transform(name)), {x});
    EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
    return Values<float>((*outputs)[0]);
  };
  const Constant one = Tensor<float>({2, 1}, {0.3F, 0.8F});
  for (const char* name : {"NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"}) {
    EXPECT_THAT(run(name, one), ElementsAre(0.3F, 0.8F)) << name;
  }
  EXPECT_THAT(run("PROBIT", one), Pointwise(FloatNear(2e-6F), {-0.5244459F, 0.8417561F}));
  const Constant two = Tensor<float>({1, 2}, {0.3F, 0});
  EXPECT_THAT(run("LOGISTIC", two), Pointwise(FloatNear(1e-6F), {0.5744425F, 0.5F}));
  EXPECT_THAT(run("SOFTMAX_ZERO", two), ElementsAre(1, 0));
}

}  // namespace
}  // namespace verdict
