#include "serve/tls/handshake_budget.h"

#include <gtest/gtest.h>

namespace verdict {
namespace {

using std::chrono::milliseconds;

const auto kStart = HandshakeBudget::Clock::time_point(std::chrono::seconds(1000));

TEST(HandshakeBudget, GivesHandshakesHalfOfTheTime) {
  HandshakeBudget budget;
  auto now = kStart;
  auto spent = milliseconds(0);
  // A flood: a handshake of a millisecond whenever one may run, and a wait where none may.
  while (now < kStart + milliseconds(2000)) {
    if (budget.Allows(now)) {
      budget.Spend(milliseconds(1));
      spent += milliseconds(1);
      now += milliseconds(1);
    } else {
      now += milliseconds(2);
    }
  }
  EXPECT_NEAR(static_cast<double>(spent.count()), 1050, 20);
}

TEST(HandshakeBudget, ALongStepIsPaidForAfterwards) {
  HandshakeBudget budget;
  ASSERT_TRUE(budget.Allows(kStart));
  budget.Spend(milliseconds(150));
  EXPECT_FALSE(budget.Allows(kStart + milliseconds(150)));
  EXPECT_FALSE(budget.Allows(kStart + milliseconds(199)));
  EXPECT_TRUE(budget.Allows(kStart + milliseconds(201)));
}

TEST(HandshakeBudget, SavesNoMoreThanABurst) {
  HandshakeBudget budget;
  ASSERT_TRUE(budget.Allows(kStart));
  const auto later = kStart + std::chrono::hours(1);
  ASSERT_TRUE(budget.Allows(later));
  budget.Spend(milliseconds(51));
  EXPECT_FALSE(budget.Allows(later));
}

}  // namespace
}  // namespace verdict
