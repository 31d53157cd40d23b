#include "runtime/lane_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace verdict {
namespace {

using std::chrono::milliseconds;

TEST(LanePool, LendsEachLaneOnce) {
  LanePool pool(2);
  const size_t first = pool.Borrow(), second = pool.Borrow();
  EXPECT_EQ(first + second, 1U);
  pool.Return(first);
  EXPECT_EQ(pool.Borrow(), first);
}

TEST(LanePool, ServesThoseWhoWaitInTheOrderInWhichTheyCame) {
  LanePool pool(1);
  ASSERT_EQ(pool.Borrow(), 0U);
  std::vector<int> order;  // guarded by the one lane
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const size_t lane = pool.Borrow();
      order.push_back(i);
      pool.Return(lane);
    });
    std::this_thread::sleep_for(milliseconds(30));
  }
  pool.Return(0);
  threads.clear();
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
}

TEST(LanePool, NoTwoThreadsHaveOneLane) {
  constexpr size_t kLanes = 3;
  LanePool pool(kLanes);
  std::atomic<int> users[kLanes] = {};
  std::atomic<int> worst = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 2000; ++k) {
          const size_t lane = pool.Borrow();
          if (++users[lane] > 1) ++worst;
          --users[lane];
          pool.Return(lane);
        }
      });
    }
  }
  EXPECT_EQ(worst, 0);
}

TEST(LanePool, CloseSendsWaitersAwayAndWaitsForTheRest) {
  LanePool pool(1);
  const size_t lane = pool.Borrow();
  std::atomic<bool> closed = false;
  std::jthread waiter([&] { EXPECT_EQ(pool.Borrow(), LanePool::kClosed); });
  std::this_thread::sleep_for(milliseconds(30));
  std::jthread closer([&] {
    pool.Close();
    closed = true;
  });
  waiter.join();  // while the lane is still out
  EXPECT_FALSE(closed);
  pool.Return(lane);
  closer.join();
  EXPECT_EQ(pool.Borrow(), LanePool::kClosed);
  pool.Close();  // again: at once
}

TEST(LanePool, WaitsUntilThenAtMostAndForgetsWhoHasGone) {
  LanePool pool(1);
  const auto in = [](int ms) { return LanePool::Clock::now() + milliseconds(ms); };
  ASSERT_EQ(pool.Borrow(in(0)), 0U) << "a free one is there at once";
  const auto begin = LanePool::Clock::now();
  EXPECT_EQ(pool.Borrow(in(20)), LanePool::kNone);
  EXPECT_GE(LanePool::Clock::now() - begin, milliseconds(20));
  // Of three that wait, the one in the middle goes.
  std::vector<int> order;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      const size_t lane = pool.Borrow(in(i == 1 ? 60 : 60'000));
      if (lane == LanePool::kNone) return;
      order.push_back(i);
      pool.Return(lane);
    });
    std::this_thread::sleep_for(milliseconds(20));
  }
  threads[1].join();
  pool.Return(0);
  threads.clear();
  EXPECT_EQ(order, (std::vector{0, 2}));
  EXPECT_EQ(pool.Borrow(in(0)), 0U);
}

TEST(LanePool, NobodyWaitsWhileEveryLaneIsLate) {
  LanePool pool(2);
  const auto later = [] { return LanePool::Clock::now() + std::chrono::seconds(60); };
  ASSERT_EQ(pool.Borrow(), 0U);
  pool.SetLate();
  ASSERT_EQ(pool.Borrow(later()), 1U);
  std::vector<std::jthread> waiting;
  for (const auto until : {later(), LanePool::Clock::time_point::max()}) {
    waiting.emplace_back([&pool, until] { EXPECT_EQ(pool.Borrow(until), LanePool::kNone); });
  }
  std::this_thread::sleep_for(milliseconds(20));
  pool.SetLate();
  waiting.clear();
  EXPECT_EQ(pool.Borrow(later()), LanePool::kNone);
  EXPECT_EQ(pool.Borrow(), LanePool::kNone);
  pool.Return(1, true);
  const size_t lane = pool.Borrow(later());
  EXPECT_EQ(lane, 1U);
  pool.Return(lane);
  pool.Return(0, true);
}

}  // namespace
}  // namespace verdict
