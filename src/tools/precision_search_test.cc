#include "tools/precision_search.h"

#include <gmock/gmock.h>

namespace verdict {
namespace {

using ::testing::ElementsAre;

/// The search where each quantized layer costs so much; `calls` counts.
PrecisionChoice Search(const std::vector<double>& costs, double limit, int* calls = nullptr) {
  const auto choice =
      SearchPrecision(costs.size(), limit, [&](const std::vector<bool>& keep) -> Result<double> {
        double cost = 0;
        for (size_t i = 0; i < keep.size(); ++i) cost += keep[i] ? 0 : costs[i];
        if (calls != nullptr) ++*calls;
        return cost;
      });
  EXPECT_TRUE(choice.ok()) << choice.status().ToString();
  return *choice;
}

TEST(PrecisionSearch, QuantizesAllWhereThatPasses) {
  int calls = 0;
  const PrecisionChoice choice = Search({0.1, 0.2, 0.3}, 0.61, &calls);
  EXPECT_THAT(choice.keep, ElementsAre(false, false, false));
  EXPECT_TRUE(choice.passes);
  EXPECT_TRUE(choice.costs.empty());
  EXPECT_EQ(calls, 1);
}

TEST(PrecisionSearch, KeepsTheDearestAndNoMore) {
  const PrecisionChoice choice = Search({0.1, 5.0, 0.2, 3.0, 0.1}, 0.5);
  EXPECT_THAT(choice.keep, ElementsAre(false, true, false, true, false));
  EXPECT_THAT(choice.costs, ElementsAre(0.1, 5.0, 0.2, 3.0, 0.1));
  EXPECT_TRUE(choice.passes);
  EXPECT_NEAR(choice.cost, 0.4, 1e-9);
}

TEST(PrecisionSearch, KeepsAllWhereNothingPasses) {
  const PrecisionChoice choice = Search({1.0, 2.0}, 0.5);
  EXPECT_THAT(choice.keep, ElementsAre(true, true));
  EXPECT_FALSE(choice.passes);
  EXPECT_EQ(choice.cost, 0);
}

TEST(PrecisionSearch, AsksFewTimes) {
  int calls = 0;
  std::vector<double> costs(64, 0.001);
  costs[40] = 1;
  const PrecisionChoice choice = Search(costs, 0.1, &calls);
  EXPECT_EQ(std::ranges::count(choice.keep, true), 1);
  EXPECT_TRUE(choice.keep[40]);
  EXPECT_LE(calls, 1 + 64 + 6);
}

TEST(PrecisionSearch, PassesErrorsOn) {
  const auto choice = SearchPrecision(
      2, 0.1, [](const std::vector<bool>&) -> Result<double> { return InvalidArgument("no"); });
  EXPECT_EQ(choice.status().message(), "no");
}

}  // namespace
}  // namespace verdict
