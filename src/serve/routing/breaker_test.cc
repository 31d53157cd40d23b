#include "serve/routing/breaker.h"

#include <gtest/gtest.h>

namespace verdict {
namespace {

using State = Breaker::State;
using std::chrono::milliseconds;

class BreakerTest : public ::testing::Test {
 protected:
  /// Of a number of requests that are allowed. Returns: how many were.
  int Ask(int requests, bool fail) {
    int allowed = 0;
    for (int i = 0; i < requests; ++i) {
      if (!breaker_.Allow(now_)) continue;
      ++allowed;
      fail ? breaker_.Fail(now_) : breaker_.Succeed(now_);
    }
    return allowed;
  }

  Breaker::Clock::time_point now_ = Breaker::Clock::now();
  Breaker breaker_{BreakerOptions{}};
};

TEST_F(BreakerTest, OpensAfterFailuresInARow) {
  EXPECT_EQ(Ask(4, true), 4);
  EXPECT_EQ(breaker_.state(), State::kClosed);
  Ask(1, false);
  EXPECT_EQ(Ask(4, true), 4) << "the row was broken";
  EXPECT_EQ(Ask(10, true), 1);
  EXPECT_EQ(breaker_.state(), State::kOpen);
  EXPECT_EQ(breaker_.opened(), 1U);
}

TEST_F(BreakerTest, OpensWhenHalfOfTheWindowFails) {
  for (int i = 0; i < 9; ++i) {  // the window begins with a failure
    Ask(1, true);
    Ask(1, false);
  }
  EXPECT_EQ(breaker_.state(), State::kClosed) << "18 are too few";
  Ask(1, false);
  Ask(1, true);
  EXPECT_EQ(breaker_.state(), State::kOpen);
}

TEST_F(BreakerTest, FailuresOfLongAgoDoNotCount) {
  for (int i = 0; i < 9; ++i) {
    Ask(1, false);
    Ask(1, true);
  }
  now_ += milliseconds(10'001);
  for (int i = 0; i < 5; ++i) {
    Ask(1, true);
    Ask(1, false);
  }
  EXPECT_EQ(breaker_.state(), State::kClosed);
}

TEST_F(BreakerTest, OneProbeAtATimeClosesIt) {
  Ask(5, true);
  EXPECT_FALSE(breaker_.CanAllow(now_));
  now_ += milliseconds(1'000);
  EXPECT_TRUE(breaker_.CanAllow(now_));
  for (int probe = 0; probe < 3; ++probe) {
    EXPECT_TRUE(breaker_.Allow(now_));
    EXPECT_FALSE(breaker_.Allow(now_)) << "one is under way";
    EXPECT_EQ(breaker_.state(), State::kHalfOpen);
    breaker_.Succeed(now_);
  }
  EXPECT_EQ(breaker_.state(), State::kClosed);
  EXPECT_EQ(Ask(4, true), 4) << "and it begins anew";
  EXPECT_EQ(breaker_.state(), State::kClosed);
}

TEST_F(BreakerTest, AFailedProbeOpensItForTwiceAsLong) {
  Ask(5, true);
  for (const int wait : {1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000}) {
    now_ += milliseconds(wait - 1);
    EXPECT_FALSE(breaker_.Allow(now_)) << wait;
    now_ += milliseconds(1);
    EXPECT_EQ(Ask(3, true), 1) << wait;
  }
  EXPECT_EQ(breaker_.opened(), 8U);
}

TEST_F(BreakerTest, AProbeThatWasNotTriedMakesRoomForAnother) {
  Ask(5, true);
  now_ += milliseconds(1'000);
  EXPECT_TRUE(breaker_.Allow(now_));
  breaker_.Drop();
  EXPECT_TRUE(breaker_.Allow(now_));
}

TEST_F(BreakerTest, AnAnswerThatBeganBeforeChangesNothing) {
  EXPECT_TRUE(breaker_.Allow(now_));
  Ask(5, true);
  breaker_.Succeed(now_);
  breaker_.Fail(now_);
  EXPECT_EQ(breaker_.state(), State::kOpen);
  EXPECT_EQ(breaker_.opened(), 1U);
}

}  // namespace
}  // namespace verdict
