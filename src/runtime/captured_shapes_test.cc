#include "runtime/captured_shapes.h"

#include <gtest/gtest.h>

#include "ir/text.h"

namespace verdict {
namespace {

Graph Parse(const char* text) { return ParseGraph(text).value(); }

TEST(ShapesToCapture, HasCornersAndPowersOfTwoOfTheBatch) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[N,3]
    input %s: i64[N]
    output %x
  })");
  const std::vector<Profile> profiles = {{{{"x", {2, 3}, {5, 3}, {20, 3}}, {"s", {2}, {5}, {20}}}}};
  const auto all = ShapesToCapture(graph, profiles);
  std::vector<Dim> rows;
  for (const std::vector<Shape>& shapes : all) {
    ASSERT_EQ(shapes.size(), 2U);
    EXPECT_EQ(shapes[0], (Shape{shapes[1][0], 3}));
    rows.push_back(shapes[1][0]);
  }
  EXPECT_EQ(rows, (std::vector<Dim>{2, 4, 5, 8, 16, 20}));
}

TEST(ShapesToCapture, HasCornersAloneWhereInputsHaveNoCommonBatch) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[N,3]
    input %s: i64[M]
    output %x
  })");
  const std::vector<Profile> profiles = {{{{"x", {1, 3}, {8, 3}, {64, 3}}, {"s", {1}, {2}, {4}}}}};
  EXPECT_EQ(ShapesToCapture(graph, profiles).size(), 3U);
}

TEST(ShapesToCapture, KeepsOtherExtentsAtTheirExpectedSize) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[N,T]
    output %x
  })");
  const std::vector<Profile> profiles = {{{{"x", {1, 1}, {2, 7}, {4, 9}}}}};
  const std::vector<std::vector<Shape>> wanted = {{{1, 1}}, {{1, 7}}, {{2, 7}}, {{4, 7}}, {{4, 9}}};
  EXPECT_EQ(ShapesToCapture(graph, profiles), wanted);
}

TEST(ShapesToCapture, HasAFixedShapeOnce) {
  const Graph graph = Parse(R"(graph "g" {
    input %x: f32[1,3]
    output %x
  })");
  const Profile profile = {{{"x", {1, 3}, {1, 3}, {1, 3}}}};
  const std::vector<Profile> profiles = {profile, profile};
  EXPECT_EQ(ShapesToCapture(graph, profiles).size(), 1U);
}

}  // namespace
}  // namespace verdict
