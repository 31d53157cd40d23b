#include "serve/batching/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "serve/batching/recorded_job_test.h"

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = Job::Clock;

constexpr Clock::time_point kStart = Clock::time_point(std::chrono::hours(1));
constexpr Clock::time_point kNever = Clock::time_point::max();
Clock::time_point At(int64_t us) { return kStart + microseconds(us); }

class NamedJob : public RecordedJob {
 public:
  explicit NamedJob(std::string name) : RecordedJob({0}, Shape{1, 1}), name(std::move(name)) {}
  std::string name;
};

std::shared_ptr<NamedJob> Named(const std::string& name, int64_t deadline_us = -1) {
  auto job = std::make_shared<NamedJob>(name);
  if (deadline_us >= 0) job->deadline = At(deadline_us);
  return job;
}

std::vector<std::string> Order(const JobQueue& queue) {
  std::vector<std::string> names;
  queue.ForEachReady([&](Job& job) {
    names.push_back(static_cast<NamedJob&>(job).name);
    return true;
  });
  return names;
}

std::string NextExpired(JobQueue& queue, int64_t us) {
  const std::shared_ptr<Job> job = queue.TakeExpired(At(us));
  return job == nullptr ? "" : static_cast<NamedJob&>(*job).name;
}

constexpr nanoseconds kCost = microseconds(10);

TEST(JobQueue, OrdersByDeadlineThenArrival) {
  JobQueue queue({});
  queue.Push(Named("late", 900), At(0), kCost);
  queue.Push(Named("no deadline"), At(0), kCost);
  queue.Push(Named("early", 500), At(1), kCost);
  queue.Push(Named("early too", 500), At(2), kCost);
  EXPECT_THAT(Order(queue), ElementsAre("early", "early too", "late", "no deadline"));
}

TEST(JobQueue, LetsDeadlinesOvertakeOnlySoLong) {
  JobQueue queue({});
  const int64_t patience_us = microseconds(kPatience).count();
  queue.Push(Named("patient"), At(0), kCost);
  queue.Push(Named("before", patience_us - 1), At(1), kCost);
  queue.Push(Named("after", patience_us + 1), At(2), kCost);
  EXPECT_THAT(Order(queue), ElementsAre("before", "patient", "after"));
}

TEST(JobQueue, PutsUrgentLevelsFirst) {
  JobQueue queue({.priority_levels = 3, .default_priority_level = 2});
  const auto push = [&](const std::string& name, uint32_t priority) {
    auto job = Named(name);
    job->priority = priority;
    queue.Push(std::move(job), At(0), kCost);
  };
  push("three", 3);
  push("default", 0);
  push("unknown", 9);
  push("one", 1);
  push("two", 2);
  EXPECT_THAT(Order(queue), ElementsAre("one", "default", "unknown", "two", "three"));
}

TEST(JobQueue, KeepsTheOrderOfArrivalWhereAsked) {
  JobQueue queue({.preserve_ordering = true});
  queue.Push(Named("first"), At(0), kCost);
  queue.Push(Named("second", 50), At(1), kCost);
  EXPECT_THAT(Order(queue), ElementsAre("first", "second"));
}

TEST(JobQueue, IsBoundedPerLevel) {
  QueuePolicy two;
  two.max_queue_size = 2;
  JobQueue queue({.priority_levels = 2,
                  .default_priority_level = 1,
                  .default_queue_policy = {},
                  .priority_queue_policy = {{2, two}}});
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(queue.IsFull(1));
    auto job = Named("low");
    job->priority = 2;
    queue.Push(std::move(job), At(0), kCost, i == 1);  // held ones count
  }
  EXPECT_TRUE(queue.IsFull(1));
  EXPECT_FALSE(queue.IsFull(0));
  for (uint32_t i = 0; i < kDefaultMaxQueueSize; ++i) queue.Push(Named("high"), At(0), kCost);
  EXPECT_TRUE(queue.IsFull(0));
  queue.Remove(queue.front());
  EXPECT_FALSE(queue.IsFull(1));
}

struct TimeoutCase {
  std::string name;
  uint64_t default_us, own_us;
  bool allow_override;
  int64_t deadline_us;
  int64_t expires_us;  // -1: never
};

TEST(JobQueue, ExpiresAtTheEarliestOfItsLimits) {
  const std::vector<TimeoutCase> cases = {
      {"no limit", 0, 0, false, -1, -1},
      {"the default", 100, 0, false, -1, 100},
      {"its own, not allowed", 100, 50, false, -1, 100},
      {"its own, allowed", 100, 50, true, -1, 50},
      {"its own may not be longer", 100, 500, true, -1, 100},
      {"its own without a default", 0, 500, true, -1, 500},
      {"not allowed, no default", 0, 500, false, -1, -1},
      {"a deadline always counts, less the cost", 100, 0, false, 60, 50},
      {"a deadline after the timeout", 100, 0, false, 600, 100},
      {"beyond all time", std::numeric_limits<uint64_t>::max(), 0, false, -1, -1},
  };
  for (const TimeoutCase& test : cases) {
    SCOPED_TRACE(test.name);
    JobQueue queue({.default_queue_policy = {.default_timeout_microseconds = test.default_us,
                                             .allow_timeout_override = test.allow_override}});
    auto job = Named("job", test.deadline_us);
    job->timeout_us = test.own_us;
    queue.Push(std::move(job), At(0), kCost);
    if (test.expires_us < 0) {
      EXPECT_EQ(queue.next_expiry(), kNever);
      EXPECT_EQ(NextExpired(queue, 1'000'000'000), "");
      continue;
    }
    EXPECT_EQ(queue.next_expiry(), At(test.expires_us));
    EXPECT_EQ(NextExpired(queue, test.expires_us - 1), "");
    EXPECT_EQ(NextExpired(queue, test.expires_us), "job");
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_FALSE(queue.has_ready());
  }
}

TEST(JobQueue, DelaysInsteadOfRejectingWhereAsked) {
  JobQueue queue({.default_queue_policy = {.timeout_action = QueuePolicy::TimeoutAction::kDelay,
                                           .default_timeout_microseconds = 100}});
  queue.Push(Named("old"), At(0), kCost);
  queue.Push(Named("old with deadline", 300), At(0), kCost);
  queue.Push(Named("new"), At(90), kCost);
  EXPECT_THAT(Order(queue), ElementsAre("old", "old with deadline", "new"));
  EXPECT_EQ(NextExpired(queue, 100), "");
  EXPECT_THAT(Order(queue), ElementsAre("new", "old", "old with deadline"));
  EXPECT_EQ(NextExpired(queue, 189), "");
  EXPECT_THAT(Order(queue), ElementsAre("new", "old", "old with deadline"));
  EXPECT_EQ(NextExpired(queue, 289), "");
  EXPECT_EQ(NextExpired(queue, 290), "old with deadline") << "its deadline still counts";
  EXPECT_EQ(NextExpired(queue, 1'000'000), "");
  EXPECT_EQ(queue.size(), 2U);
}

TEST(JobQueue, GivesHeldJobsNoTurn) {
  JobQueue queue({});
  auto held = Named("held", 500);
  Job& job = *held;
  queue.Push(std::move(held), At(0), kCost, true);
  EXPECT_THAT(Order(queue), IsEmpty());
  EXPECT_FALSE(queue.has_ready());
  EXPECT_EQ(queue.size(), 1U);
  queue.Release(job);
  EXPECT_THAT(Order(queue), ElementsAre("held"));
  EXPECT_EQ(NextExpired(queue, 490), "held");
}

TEST(JobQueue, LetsGoOfWhatIsRemoved) {
  JobQueue queue({});
  std::weak_ptr<Job> gone;
  {
    const auto job = Named("job", 100);
    gone = job;
    queue.Push(job, At(0), kCost);
    queue.Push(Named("other"), At(0), kCost);
    EXPECT_EQ(queue.Remove(*job), job);
  }
  EXPECT_TRUE(gone.expired());
  EXPECT_THAT(Order(queue), ElementsAre("other"));
  EXPECT_EQ(queue.next_expiry(), kNever);
}

TEST(JobQueue, CountsWhatIsAheadOfANewJob) {
  JobQueue queue({.priority_levels = 2, .default_priority_level = 2});
  auto urgent = Named("urgent");
  urgent->priority = 1;
  urgent->rows = 5;
  queue.Push(std::move(urgent), At(0), kCost);
  for (int64_t i = 0; i < 100; ++i) queue.Push(Named("", 1'000 + 10 * i), At(0), kCost);
  const auto ahead = [&](int64_t deadline_us, int64_t enough) {
    const auto counted = queue.CountAhead(*Named("", deadline_us), At(0), enough);
    return std::pair(counted.jobs, counted.rows);
  };
  constexpr int64_t kAll = 1'000'000;
  EXPECT_EQ(ahead(5'000, kAll), std::pair(int64_t{101}, int64_t{105})) << "the last";
  EXPECT_EQ(ahead(1'895, kAll), std::pair(int64_t{91}, int64_t{95})) << "near the end";
  EXPECT_EQ(ahead(1'095, kAll), std::pair(int64_t{11}, int64_t{15})) << "near the front";
  EXPECT_EQ(ahead(900, kAll), std::pair(int64_t{1}, int64_t{5})) << "the first of its level";
  EXPECT_GE(ahead(1'300, 20).second, 20);
  EXPECT_LT(ahead(1'300, 20).second, 35) << "no more are looked at than decide";
}

}  // namespace
}  // namespace verdict
