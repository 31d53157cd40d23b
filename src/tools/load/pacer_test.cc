#include "tools/load/pacer.h"

#include <gtest/gtest.h>

#include <vector>

namespace verdict::load {
namespace {

TEST(Pacer, AnOpenLoopIsDueAtItsTimesHoweverLateTheyAreTaken) {
  Pacer pacer = Pacer::Open(Arrivals::Constant(1e6, 0, 1), 0, 10'000, UINT64_MAX);
  EXPECT_EQ(pacer.Take(-1), std::nullopt);
  EXPECT_EQ(pacer.Take(0)->intended_ns, 0);
  EXPECT_EQ(pacer.next_ns(), 1000);
  EXPECT_EQ(pacer.Take(999), std::nullopt);
  for (int i = 1; i < 10; ++i) {  // all at once, after a stall
    const auto due = pacer.Take(50'000);
    ASSERT_TRUE(due.has_value());
    EXPECT_EQ(due->intended_ns, i * 1000);
    EXPECT_EQ(due->index, i);
  }
  EXPECT_TRUE(pacer.ended(50'000)) << "the eleventh would be beyond the end";
  EXPECT_EQ(pacer.Take(50'000), std::nullopt);
}

TEST(Pacer, AClosedLoopIsAlwaysDueUntilItsEnd) {
  Pacer pacer = Pacer::Closed(0, 100, UINT64_MAX, 1, 2);
  EXPECT_EQ(pacer.Take(5)->intended_ns, 5);
  EXPECT_EQ(pacer.Take(5)->index, 3) << "every second one is the other part's";
  EXPECT_FALSE(pacer.ended(99));
  EXPECT_EQ(pacer.next_ns(), Arrivals::kEnd);
  EXPECT_TRUE(pacer.ended(100));
  EXPECT_EQ(pacer.Take(100), std::nullopt);
}

TEST(Pacer, TheLimitCountsWhatIsMeasuredOnly) {
  Pacer closed = Pacer::Closed(100, INT64_MAX, 2, 0, 1);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(closed.Take(50).has_value());
  EXPECT_TRUE(closed.Take(100).has_value());
  EXPECT_TRUE(closed.Take(101).has_value());
  EXPECT_EQ(closed.Take(102), std::nullopt);
  EXPECT_TRUE(closed.ended(102));
  Pacer open = Pacer::Open(Arrivals::Constant(1e9, 0, 1), 3, INT64_MAX, 2);
  std::vector<int64_t> times;
  while (const auto due = open.Take(1'000'000)) times.push_back(due->intended_ns);
  EXPECT_EQ(times, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(Pacer, WithADeadlineTheNewestGoesFirstAndTheLateNotAtAll) {
  Pacer pacer = Pacer::Open(Arrivals::Constant(1e6, 0, 1), 0, 5'000, UINT64_MAX, 3'500);
  EXPECT_EQ(pacer.Take(2'000)->intended_ns, 2'000);
  EXPECT_EQ(pacer.next_ns(), 0) << "those that wait are due";
  EXPECT_EQ(pacer.TakeExpired(3'499), std::nullopt);
  EXPECT_EQ(pacer.TakeExpired(4'500)->index, 0);
  EXPECT_EQ(pacer.TakeExpired(4'500)->intended_ns, 1'000);
  EXPECT_EQ(pacer.TakeExpired(4'500), std::nullopt);
  EXPECT_EQ(pacer.Take(4'500)->intended_ns, 4'000);
  EXPECT_FALSE(pacer.ended(9'000)) << "one still waits, though nothing more becomes due";
  EXPECT_EQ(pacer.TakeExpired(9'000)->intended_ns, 3'000);
  EXPECT_TRUE(pacer.ended(9'000));
  EXPECT_EQ(pacer.Take(9'000), std::nullopt);
}

TEST(Pacer, ADeadlineDoesNotChangeTheLimit) {
  Pacer pacer = Pacer::Open(Arrivals::Constant(1e9, 0, 1), 3, INT64_MAX, 2, 1'000);
  std::vector<int64_t> times;
  while (const auto due = pacer.Take(100)) times.push_back(due->intended_ns);
  EXPECT_EQ(times, (std::vector<int64_t>{4, 3, 2, 1, 0}));
  EXPECT_TRUE(pacer.ended(100));
  EXPECT_EQ(pacer.next_ns(), Arrivals::kEnd);
}

TEST(Pacer, StoppingDropsWhatIsNotDueYet) {
  Pacer pacer = Pacer::Open(Arrivals::Constant(1e9, 0, 1), 0, INT64_MAX, UINT64_MAX);
  pacer.StopAt(2);
  EXPECT_EQ(pacer.Take(10)->intended_ns, 0);
  EXPECT_EQ(pacer.Take(10)->intended_ns, 1);
  EXPECT_TRUE(pacer.ended(10));
}

TEST(Pacer, ARecordingEnds) {
  const std::vector<int64_t> times = {0, 7};
  Pacer pacer = Pacer::Open(Arrivals::Replay(times, 0, 1), 0, Arrivals::kEnd, UINT64_MAX);
  EXPECT_EQ(pacer.Take(100)->index, 0);
  EXPECT_EQ(pacer.Take(100)->index, 1);
  EXPECT_TRUE(pacer.ended(100));
}

}  // namespace
}  // namespace verdict::load
