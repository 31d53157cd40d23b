#include "serve/batching/cost_model.h"

#include <gtest/gtest.h>

#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

CostModel Known() {
  const std::vector<nanoseconds> measured = {microseconds(10), microseconds(12), microseconds(20)};
  return CostModel(measured);  // of 1, 2 and 4 rows
}

TEST(CostModel, InterpolatesAndExtrapolates) {
  const CostModel cost = Known();
  const std::vector<std::pair<int64_t, int64_t>> expected = {
      {0, 10'000}, {1, 10'000}, {2, 12'000}, {3, 16'000}, {4, 20'000}, {8, 40'000}, {6, 30'000}};
  for (const auto& [rows, ns] : expected) EXPECT_EQ(cost.Estimate(rows).count(), ns) << rows;
}

TEST(CostModel, FollowsWhatItObserves) {
  CostModel cost = Known();
  for (int i = 0; i < 100; ++i) cost.Observe(4, microseconds(30));
  EXPECT_NEAR(static_cast<double>(cost.Estimate(4).count()), 30'000, 100);
  EXPECT_EQ(cost.Estimate(1).count(), 10'000) << "other sizes were not seen";
  for (int i = 0; i < 200; ++i) cost.Observe(3, microseconds(8));
  EXPECT_NEAR(static_cast<double>(cost.Estimate(3).count()), 8'000, 100);
  for (int i = 0; i < 200; ++i) cost.Observe(64, microseconds(160));
  EXPECT_NEAR(static_cast<double>(cost.Estimate(64).count()), 160'000, 1'000);
}

TEST(CostModel, HardlyMindsAnOutlier) {
  CostModel cost = Known();
  cost.Observe(1, std::chrono::seconds(5));
  EXPECT_LE(cost.Estimate(1).count(), 11'500);
  cost.Observe(1, nanoseconds(0));
  EXPECT_GE(cost.Estimate(1).count(), 9'000);
}

TEST(CostModel, MeasuresEnginesOfAnyInputs) {
  for (const auto& engine :
       {SmallEngine(1), LookupEngine(), RaggedEngine(), EngineOf(R"(graph "fixed" {
  input %x: f32[7]
  %y = Add(%x, %x)
  output %y
}
)")}) {
    const auto session = Session::Create(engine).value();
    const auto cost = CostModel::Measure(*session, 128);
    if (engine->inputs()[0].shape[0] == 7) {
      ASSERT_TRUE(cost.ok());
      continue;
    }
    ASSERT_TRUE(cost.ok()) << cost.status().ToString();
    EXPECT_GT((*cost)->Estimate(1).count(), 0);
    EXPECT_GT((*cost)->Estimate(1'000'000).count(), (*cost)->Estimate(128).count());
  }
}

TEST(CostModel, SaysWhatARunRefuses) {
  const auto session = Session::Create(DoublingEngine()).value();
  EXPECT_EQ(CostModel::Measure(*session, 1'000).status().code(), StatusCode::kInvalidArgument);
}

TEST(CostModel, ReplaceTakesOverWhatAnotherHasMeasured) {
  using std::chrono::nanoseconds;
  const nanoseconds few[] = {nanoseconds(100)};
  const nanoseconds many[] = {nanoseconds(10), nanoseconds(12), nanoseconds(20)};
  CostModel cost(few);
  EXPECT_EQ(cost.Estimate(4), nanoseconds(400));
  cost.Replace(CostModel(many));
  EXPECT_EQ(cost.Estimate(1), nanoseconds(10));
  EXPECT_EQ(cost.Estimate(4), nanoseconds(20));
  cost.Replace(CostModel(few));
  EXPECT_EQ(cost.Estimate(4), nanoseconds(400));
}

}  // namespace
}  // namespace verdict
