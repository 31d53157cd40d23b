#include "plan/memory.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace verdict {
namespace {

/// A chain of Identity nodes cannot show packing (they are views), so nodes here are Add, which is
/// not.
class MemoryTest : public ::testing::Test {
 protected:
  ValueId Add(ValueId a, ValueId b) {
    const ValueId y = graph_.AddValue("", DataType::kFloat32, graph_.value(a).shape);
    graph_.nodes.push_back({.name = "", .op = "Add", .inputs = {a, b}, .outputs = {y}});
    return y;
  }
  ValueId View(ValueId a) {
    const ValueId y = graph_.AddValue("", DataType::kFloat32, graph_.value(a).shape);
    graph_.nodes.push_back({.name = "", .op = "Identity", .inputs = {a}, .outputs = {y}});
    return y;
  }
  Layout Place(int64_t batch) {
    plan_ = {};
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      plan_.steps.push_back({.node = static_cast<int32_t>(i)});
    }
    PlanStorage(graph_, plan_);
    Profile profile;
    for (ValueId id : graph_.inputs) {
      Shape shape{batch, 16};
      profile.inputs.push_back({graph_.value(id).name, Shape{1, 16}, shape, shape});
    }
    auto layout =
        PlanLayout(graph_, plan_, profile, [](size_t, auto, auto) { return size_t{100}; });
    VERDICT_CHECK(layout.ok());
    return *std::move(layout);
  }

  /// Fails if two buffers that live at the same step share memory.
  void ExpectNoOverlap(const Layout& layout) {
    const int64_t steps = static_cast<int64_t>(graph_.nodes.size());
    std::vector<int64_t> first(layout.offset.size(), -1), last(layout.offset.size(), -1);
    for (int64_t i = 0; i < steps; ++i) {
      for (ValueId id : graph_.nodes[static_cast<size_t>(i)].outputs) {
        const auto root = static_cast<size_t>(plan_.storage[static_cast<size_t>(id)]);
        if (first[root] < 0) first[root] = i;
        last[root] = std::max(last[root], i);
      }
      for (ValueId id : graph_.nodes[static_cast<size_t>(i)].inputs) {
        last[static_cast<size_t>(plan_.storage[static_cast<size_t>(id)])] = i;
      }
    }
    for (ValueId id : graph_.outputs) {
      last[static_cast<size_t>(plan_.storage[static_cast<size_t>(id)])] = steps;
    }
    for (size_t a = 0; a < layout.offset.size(); ++a) {
      if (layout.offset[a] == Layout::kNotInArena) continue;
      EXPECT_EQ(layout.offset[a] % 64, 0u);
      EXPECT_LE(layout.offset[a] + layout.capacity[a], layout.scratch_offset);
      for (size_t b = 0; b < a; ++b) {
        if (layout.offset[b] == Layout::kNotInArena) continue;
        if (first[a] > last[b] || first[b] > last[a]) continue;
        EXPECT_TRUE(layout.offset[a] + layout.capacity[a] <= layout.offset[b] ||
                    layout.offset[b] + layout.capacity[b] <= layout.offset[a])
            << "values " << a << " and " << b;
      }
    }
  }

  Graph graph_;
  Plan plan_;
};

TEST_F(MemoryTest, ChainNeedsTwoBuffers) {
  const ValueId x = graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 16});
  ValueId y = x;
  for (int i = 0; i < 10; ++i) y = Add(y, x);
  graph_.outputs = {y};
  const Layout layout = Place(4);
  ExpectNoOverlap(layout);
  EXPECT_EQ(layout.scratch_offset, 2u * 4 * 16 * 4);
  EXPECT_EQ(layout.scratch_bytes, 128u);
  EXPECT_EQ(layout.arena_bytes, layout.scratch_offset + layout.scratch_bytes);
}

TEST_F(MemoryTest, ViewsShareTheirSourcesBuffer) {
  const ValueId x = graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 16});
  const ValueId a = Add(x, x);
  const ValueId v = View(a);
  const ValueId b = Add(x, x);  // made while `a` still lives through its view
  graph_.outputs = {Add(v, b)};
  const Layout layout = Place(4);
  EXPECT_EQ(plan_.storage[static_cast<size_t>(v)], a);
  EXPECT_EQ(layout.offset[static_cast<size_t>(v)], Layout::kNotInArena);
  ExpectNoOverlap(layout);
}

TEST_F(MemoryTest, ViewsOfAnInputTakeNoMemory) {
  const ValueId x = graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 16});
  graph_.outputs = {Add(View(x), x)};
  const Layout layout = Place(4);
  EXPECT_EQ(layout.offset[static_cast<size_t>(x)], Layout::kNotInArena);
  EXPECT_EQ(layout.scratch_offset, 4u * 16 * 4);
}

TEST_F(MemoryTest, RandomGraphsNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    graph_ = Graph();
    std::vector<ValueId> values = {
        graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 16})};
    for (int i = 0; i < 30; ++i) {
      const auto pick = [&] { return values[random() % values.size()]; };
      values.push_back(random() % 5 == 0 ? View(pick()) : Add(pick(), pick()));
    }
    graph_.outputs = {values.back(), values[values.size() / 2]};
    ExpectNoOverlap(Place(1 + static_cast<int64_t>(random() % 9)));
  }
}

TEST_F(MemoryTest, RefusesAnArenaOver16GiB) {
  const ValueId x = graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 1024});
  graph_.outputs = {Add(x, x)};
  plan_.steps.push_back({.node = 0});
  PlanStorage(graph_, plan_);
  Profile profile;
  profile.inputs.push_back({"x", Shape{1, 1024}, Shape{1, 1024}, Shape{1 << 30, 1024}});
  const auto layout =
      PlanLayout(graph_, plan_, profile, [](size_t, auto, auto) { return size_t{0}; });
  ASSERT_FALSE(layout.ok());
  EXPECT_EQ(layout.status().code(), StatusCode::kResourceExhausted);
}

TEST_F(MemoryTest, RefusesScratchOver16GiB) {
  const ValueId x = graph_.AddInput("x", DataType::kFloat32, Shape{1});
  graph_.outputs = {Add(x, x)};
  plan_.steps.push_back({.node = 0});
  PlanStorage(graph_, plan_);
  Profile profile;
  profile.inputs.push_back({"x", Shape{1}, Shape{1}, Shape{1}});
  for (const size_t scratch : {(size_t{16} << 30) + 1, SIZE_MAX / 2, SIZE_MAX}) {
    const auto layout =
        PlanLayout(graph_, plan_, profile, [&](size_t, auto, auto) { return scratch; });
    ASSERT_FALSE(layout.ok()) << scratch;
    EXPECT_EQ(layout.status().code(), StatusCode::kResourceExhausted);
  }
}

}  // namespace
}  // namespace verdict
