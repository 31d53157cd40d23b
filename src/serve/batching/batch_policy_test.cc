#include "serve/batching/batch_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Clock = Job::Clock;

constexpr Clock::time_point kStart = Clock::time_point(std::chrono::hours(1));
constexpr int64_t kNone = -1;

/// 1,100 us and 100 us a row.
CostModel Cost() {
  std::vector<nanoseconds> measured;
  for (int rows = 1; rows <= 64; rows *= 2) measured.push_back(microseconds(1'100 + 100 * rows));
  return CostModel(measured);
}

/// Times in microseconds from kStart, which is now.
struct Waiting {
  int64_t rows = 1;
  int64_t queued = 0;
  int64_t deadline = kNone;
  int64_t start_by = kNone;
};

struct Case {
  std::string name;
  std::vector<Waiting> waiting;
  BatchLimits limits;
  std::vector<size_t> doomed, taken;
  int64_t wake = kNone;  // kNone: it runs now
};

BatchLimits Limits(int64_t max_rows, int64_t delay_us, std::vector<int64_t> preferred = {}) {
  return {.max_rows = max_rows,
          .combines = max_rows > 1,
          .preferred_rows = std::move(preferred),
          .max_delay = microseconds(delay_us)};
}

BatchDecision Decide(const Case& test, const CostModel* cost) {
  std::vector<BatchCandidate> candidates;
  for (const Waiting& job : test.waiting) {
    BatchCandidate& candidate = candidates.emplace_back();
    candidate.rows = job.rows;
    candidate.queued = kStart + microseconds(job.queued);
    if (job.deadline != kNone) candidate.deadline = kStart + microseconds(job.deadline);
    if (job.start_by != kNone) candidate.start_by = kStart + microseconds(job.start_by);
  }
  BatchDecision decision;
  ChooseBatch(candidates, test.limits, cost, kStart, &decision);
  return decision;
}

TEST(BatchPolicy, ChoosesWhatRunsAndWhen) {
  BatchLimits in_order = Limits(8, 0);
  in_order.in_order = true;
  const std::vector<Case> cases = {
      {"a lone request does not wait without a delay", {{}}, Limits(8, 0), {}, {0}},
      {"without a delay all that waits goes", {{}, {2}, {3}}, Limits(8, 0), {}, {0, 1, 2}},
      {"requests that are not combined go alone", {{5}, {}}, Limits(1, 9'000), {}, {0}},
      {"with a delay a lone one waits", {{1, -300}}, Limits(8, 1'000), {}, {0}, 700},
      {"until the oldest has waited long enough",
       {{1, -300}, {1, -1'000}},
       Limits(8, 1'000),
       {},
       {0, 1}},
      {"a full batch does not wait", {{4}, {4}, {1}}, Limits(8, 1'000), {}, {0, 1}},
      {"nor one that the next does not fit into", {{4}, {5}}, Limits(8, 1'000), {}, {0}},
      {"nor one of a preferred size", {{2}, {2}, {1}}, Limits(8, 1'000, {4}), {}, {0, 1}},
      {"the largest preferred size counts",
       {{2}, {2}, {2}, {1}},
       Limits(8, 1'000, {4, 6}),
       {},
       {0, 1, 2}},
      {"after the delay all goes, whatever is preferred",
       {{2, -1'000}, {2}, {1}},
       Limits(8, 1'000, {4}),
       {},
       {0, 1, 2}},
      // 1,200 us for one row; margin 1,000 + 1,200 / 8.
      {"a waiting batch closes in time for its deadline",
       {{1, 0, 5'000}},
       Limits(8, 9'000),
       {},
       {0},
       5'000 - 1'200 - 1'000 - 150},
      {"the earliest deadline counts",
       {{1, 0, 8'000}, {1, 0, 5'000}},
       Limits(8, 9'000),
       {},
       {0, 1},
       5'000 - 1'300 - 1'000 - 163},
      {"and runs when there is no more time to wait", {{1, 0, 2'200}}, Limits(8, 9'000), {}, {0}},
      {"a timeout in the queue closes the batch too",
       {{1, 0, kNone, 2'500}},
       Limits(8, 9'000),
       {},
       {0},
       1'500},
      {"too late even alone: doomed", {{1, 0, 1'199}, {}}, Limits(8, 0), {0}, {1}},
      {"just in time alone", {{1, 0, 1'200}}, Limits(8, 0), {}, {0}},
      {"all are doomed", {{1, 0, 0}, {1, 0, -5}}, Limits(8, 0), {0, 1}, {}, kNone},
      {"its time to start is over", {{1, 0, kNone, 0}, {}}, Limits(8, 0), {0}, {1}},
      // Two rows take 1,300 us, three 1,400.
      {"a batch is not grown past its first deadline",
       {{1, 0, 1'350}, {}, {}},
       Limits(8, 9'000),
       {},
       {0, 1}},
      {"a job that only a smaller batch makes stays out of a larger one",
       {{1}, {1}, {1, 0, 1'350}, {1}},
       Limits(8, 0),
       {},
       {0, 1, 3}},
      {"unless no job may overtake another", {{1}, {1}, {1, 0, 1'350}, {1}}, in_order, {}, {0, 1}},
  };
  const CostModel cost = Cost();
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    const BatchDecision decision = Decide(test, &cost);
    EXPECT_EQ(decision.doomed, test.doomed);
    EXPECT_EQ(decision.taken, test.taken);
    EXPECT_EQ(decision.run, test.wake == kNone && !test.taken.empty());
    int64_t rows = 0;
    for (const size_t index : decision.taken) rows += test.waiting[index].rows;
    EXPECT_EQ(decision.rows, rows);
    if (test.wake != kNone) {
      EXPECT_EQ(std::chrono::duration_cast<microseconds>(decision.wake - kStart).count(),
                test.wake);
    } else {
      EXPECT_EQ(decision.wake, Clock::time_point::max());
    }
  }
}

TEST(BatchPolicy, KnowsOnlyPassedDeadlinesWithoutACost) {
  const Case test{"", {{1, 0, -2}, {1, 0, 1}}, Limits(8, 0), {}, {}};
  const BatchDecision decision = Decide(test, nullptr);
  EXPECT_THAT(decision.doomed, ElementsAre(0));
  EXPECT_THAT(decision.taken, ElementsAre(1));
}

TEST(BatchPolicy, CombinesEqualExtentsOnly) {
  float data = 0;
  const std::vector<TensorView> four = {{DataType::kFloat32, Shape{1, 4}, &data}};
  const std::vector<TensorView> five = {{DataType::kFloat32, Shape{1, 5}, &data}};
  const std::vector<TensorView> more = {{DataType::kFloat32, Shape{3, 4}, &data}};
  std::vector<BatchCandidate> candidates(3);
  candidates[0].inputs = four;
  candidates[1].inputs = five;
  candidates[2].inputs = more;
  candidates[2].rows = 3;
  BatchLimits limits = Limits(8, 0);
  limits.uniform = false;
  BatchDecision decision;
  ChooseBatch(candidates, limits, nullptr, kStart, &decision);
  EXPECT_THAT(decision.taken, ElementsAre(0, 2));
  EXPECT_THAT(decision.doomed, IsEmpty());
  limits.in_order = true;
  ChooseBatch(candidates, limits, nullptr, kStart, &decision);
  EXPECT_THAT(decision.taken, ElementsAre(0));
}

TEST(BatchPolicy, ExpectsANewJobToWaitItsTurn) {
  const CostModel cost = Cost();
  const BatchLimits batches = Limits(8, 0), singles = Limits(1, 0);
  const auto us = [](nanoseconds time) { return time.count() / 1000; };
  // An idle model: its own run alone.
  EXPECT_EQ(us(ExpectedTime(1, {}, batches, cost)), 1'200);
  EXPECT_EQ(us(ExpectedTime(4, {}, singles, cost)), 1'500);
  // A run under way: the rest of it and a quarter, then a batch of two: as many come meanwhile.
  EXPECT_EQ(us(ExpectedTime(1, {0, 0, microseconds(800), 1}, batches, cost)), 1'000 + 1'300);
  // Twenty rows: two full batches, shared by two threads, then a full one.
  const int64_t full = 1'900;
  EXPECT_EQ(us(ExpectedTime(1, {20, 20, microseconds(0), 2}, batches, cost)),
            full + full / 4 + full);
  // Three jobs of two rows, one after another.
  const int64_t three = 3 * 1'300;
  EXPECT_EQ(us(ExpectedTime(1, {3, 6, microseconds(0), 1}, singles, cost)),
            three + three / 4 + 1'200);
}

}  // namespace
}  // namespace verdict
