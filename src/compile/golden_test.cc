#include "compile/golden.h"

#include <gtest/gtest.h>

#include <set>

#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

/// min: the least shapes; `shapes` where that is empty.
std::vector<GoldenVector> VectorsOf(const std::string& text, const std::string& shapes,
                                    const std::string& min = "") {
  Graph graph = ParseGraph(text).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  const NamedShapes named = ParseShapes(shapes).value();
  const NamedShapes least = min.empty() ? named : ParseShapes(min).value();
  const Profile profile = MakeProfile(graph, least, named, named).value();
  auto vectors = MakeGoldenVectors(graph, profile, 1);
  EXPECT_TRUE(vectors.ok()) << vectors.status().ToString();
  return vectors.ok() ? *std::move(vectors) : std::vector<GoldenVector>{};
}

TEST(Golden, ATableOfOneRowGetsIndexZero) {
  const auto vectors = VectorsOf(R"(graph "g" {
    input %i: i64[N]
    const %table: f32[1,2] = [3, 4]
    %y = Gather(%table, %i)
    output %y
  })",
                                 "i:16");
  ASSERT_EQ(vectors.size(), 2u);
  for (const GoldenVector& golden : vectors) {
    for (int64_t index : golden.inputs[0].view().as<const int64_t>()) EXPECT_EQ(index, 0);
    EXPECT_EQ(golden.outputs[0].view().as<const float>()[1], 4);
  }
}

// The file should not be made of golden vectors.
TEST(Golden, LargeBatchesAreHalvedUntilTheyAreSmall) {
  const std::string text = R"(graph "g" {
    input %x: f32[N,1000]
    %y = Relu(%x)
    output %y
  })";
  auto vectors = VectorsOf(text, "x:64x1000", "x:1x1000");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_EQ(vectors[0].inputs[0].shape, (Shape{1, 1000}));
  EXPECT_EQ(vectors[1].inputs[0].shape, (Shape{16, 1000})) << "1 + 63 / 4";
  vectors = VectorsOf(text, "x:64x1000", "x:17x1000");
  ASSERT_EQ(vectors.size(), 1u) << "the least shape is large enough";
  EXPECT_TRUE(VectorsOf(text, "x:2048x1000").empty());
}

TEST(Golden, AStringThatMustBeANumberIsZero) {
  const auto vectors = VectorsOf(R"(graph "g" {
    input %s: str[N]
    %y = Cast(%s) {to=1}
    output %y
  })",
                                 "s:3");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_EQ(vectors[0].inputs[0].view().as<const std::string_view>()[2], "0");
  EXPECT_EQ(vectors[0].outputs[0].view().as<const float>()[2], 0);
}

TEST(Golden, AModelThatRefusesZerosTooHasNoVectors) {
  EXPECT_TRUE(VectorsOf(R"(graph "g" {
    input %i: i64[N]
    const %table: f32[0,2] = fill(0)
    %y = Gather(%table, %i)
    output %y
  })",
                        "i:4")
                  .empty());
}

TEST(Golden, RandomInputsWhereTheModelTakesThem) {
  const auto vectors = VectorsOf(R"(graph "g" {
    input %i: i64[N]
    const %table: f32[2,1] = [3, 4]
    %y = Gather(%table, %i)
    output %y
  })",
                                 "i:64");
  ASSERT_EQ(vectors.size(), 2u);
  const auto indices = vectors[0].inputs[0].view().as<const int64_t>();
  EXPECT_EQ(std::set<int64_t>(indices.begin(), indices.end()), (std::set<int64_t>{0, 1}));
}

TEST(Golden, AFloat64OutputHasItsToleranceMeasured) {
  // A sine that turns many times within a unit of x amplifies the last place of x.
  const auto vectors = VectorsOf(R"(graph "g" {
    input %x: f32[N]
    const %large: f32[] = [1000000]
    %scaled = Mul(%x, %large)
    %s = Sin(%scaled)
    %y = Cast(%s) {to=11}
    output %y
  })",
                                 "x:64");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_EQ(vectors[0].outputs[0].dtype, DataType::kFloat64);
  EXPECT_GT(vectors[0].tolerance, kMinGoldenTolerance);
}

TEST(Golden, HalfPrecisionHasTheToleranceOfItsType) {
  const auto vectors = VectorsOf(R"(graph "g" {
    input %x: f32[N,2]
    input %w: bf16[2,1]
    %y = HalfGemm(%x, %w)
    output %y
  })",
                                 "x:4x2,w:2x1");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_GE(vectors[0].tolerance, 1e-3F);
  EXPECT_LE(vectors[0].tolerance, kMaxGoldenTolerance);
}

// What is rounded on the way is nudged there: no nudge of indices moves it.
TEST(Golden, WhatIsRoundedBehindIndicesHasItsToleranceMeasured) {
  std::string table, weights;
  for (int i = 0; i < 64; ++i) {
    table += (i == 0 ? "" : ", ") + std::to_string(0.0137 * (i - 31.501));
    weights += (i == 0 ? "" : ", ") + std::to_string(i * 37 % 255 - 127);
  }
  const std::string text = R"(graph "g" {
    input %ids: i64[N]
    const %table: f32[2,32] = [)" +
                           table + R"(]
    const %w: i8[32,2] = [)" +
                           weights + R"(]
    const %s: f32[] = [0.0137]
    const %ws: f32[2] = [0.01, 0.02]
    %e = Gather(%table, %ids)
    %y = QuantizedGemm(%e, %w, %s, %ws)
    output %y
  })";
  const auto vectors = VectorsOf(text, "ids:16");
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_GT(vectors[0].tolerance, 5e-4F) << "the table lies between the quanta";
}

}  // namespace
}  // namespace verdict
