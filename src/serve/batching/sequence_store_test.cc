#include "serve/batching/sequence_store.h"

#include <gtest/gtest.h>

#include <memory>

#include "serve/batching/recorded_job_test.h"

namespace verdict {
namespace {

using Clock = Job::Clock;

Clock::time_point At(int64_t us) {
  return Clock::time_point(std::chrono::hours(1)) + std::chrono::microseconds(us);
}

std::unique_ptr<RecordedJob> Of(const std::string& key) {
  auto job = std::make_unique<RecordedJob>(std::vector<float>{0}, Shape{1, 1});
  job->sequence = key;
  return job;
}

/// Only the store knows of which sequence a job is: it is found by being made busy.
class SequenceStoreTest : public testing::Test {
 protected:
  SequenceStoreTest()
      : store_({.max_sequence_idle_microseconds = 100, .max_candidate_sequences = 2, .state = {}}) {
  }

  bool Enter(Job& job, int64_t us) { return store_.Enter(job, At(us)).value(); }

  SequenceStore store_;
};

TEST_F(SequenceStoreTest, GivesOneJobOfASequenceItsTurn) {
  const auto a1 = Of("a"), a2 = Of("a"), a3 = Of("a"), b1 = Of("b");
  EXPECT_FALSE(Enter(*a1, 0));
  EXPECT_TRUE(Enter(*a2, 0));
  EXPECT_FALSE(Enter(*b1, 0));
  store_.Begin(*a1);
  EXPECT_TRUE(Enter(*a3, 0));
  EXPECT_EQ(store_.Leave(*a2, At(1)), nullptr) << "a1 still runs";
  EXPECT_EQ(store_.size(), 2U);
}

TEST_F(SequenceStoreTest, PassesTheTurnOnWhenTheFirstLeaves) {
  const auto a1 = Of("a"), a2 = Of("a"), a3 = Of("a");
  Enter(*a1, 0);
  Enter(*a2, 0);
  Enter(*a3, 0);
  EXPECT_EQ(store_.Leave(*a2, At(1)), nullptr) << "not the first";
  EXPECT_EQ(store_.Leave(*a1, At(1)), a3.get());
  EXPECT_EQ(store_.Leave(*a3, At(1)), nullptr);
  EXPECT_EQ(store_.size(), 0U) << "it never had a state";
}

TEST_F(SequenceStoreTest, RefusesMoreThanItsBoundInUse) {
  const auto a = Of("a"), b = Of("b"), c = Of("c");
  Enter(*a, 0);
  Enter(*b, 0);
  EXPECT_EQ(store_.Enter(*c, At(0)).status().code(), StatusCode::kResourceExhausted);
  store_.Leave(*a, At(1));
  EXPECT_FALSE(Enter(*c, 2));
}

/// Runs jobs to their end through the queue of a sequence, with a state.
class StatefulSequenceStoreTest : public SequenceStoreTest {
 protected:
  /// A run that leaves a state behind; the sequences it touched are remembered.
  Sequence* Run(Job& job, int64_t us, bool forget = false) {
    Enter(job, us);
    store_.Begin(job);
    Sequence* sequence = SequenceOf(job);
    if (sequence->memory == nullptr) sequence->memory = std::make_unique<std::byte[]>(4);
    EXPECT_EQ(store_.End(*sequence, forget, At(us)), nullptr);
    return sequence;
  }
  bool Remembers(const std::string& key, int64_t us) {
    const auto job = Of(key);
    Enter(*job, us);
    const bool remembers = SequenceOf(*job)->memory != nullptr;
    store_.Leave(*job, At(us));
    return remembers;
  }
  static Sequence* SequenceOf(Job& job) { return SequenceStore::Of(job); }
};

TEST_F(StatefulSequenceStoreTest, ForgetsWhatIsIdleForTooLong) {
  Run(*Of("a"), 0);
  Run(*Of("b"), 50);
  EXPECT_EQ(store_.next_expiry(), At(100));
  store_.Expire(At(99));
  EXPECT_EQ(store_.size(), 2U);
  store_.Expire(At(100));
  EXPECT_EQ(store_.size(), 1U);
  EXPECT_EQ(store_.expired(), 1U);
  EXPECT_TRUE(Remembers("b", 149));
  EXPECT_TRUE(Remembers("b", 248)) << "it was used at 149";
  EXPECT_FALSE(Remembers("b", 348)) << "too old, though nobody swept";
  EXPECT_EQ(store_.next_expiry(), Clock::time_point::max());
}

TEST_F(StatefulSequenceStoreTest, EvictsTheLongestIdle) {
  Run(*Of("a"), 0);
  Run(*Of("b"), 1);
  Run(*Of("a"), 2);
  Run(*Of("c"), 3);
  EXPECT_EQ(store_.size(), 2U);
  EXPECT_EQ(store_.evicted(), 1U);
  EXPECT_TRUE(Remembers("a", 4));
  EXPECT_TRUE(Remembers("c", 4));
}

std::unique_ptr<RecordedJob> StartOf(const std::string& key) {
  auto job = Of(key);
  job->sequence_start = true;
  return job;
}

TEST_F(StatefulSequenceStoreTest, BeginsAnewWithoutTheStateBefore) {
  Run(*Of("a"), 0);
  const auto start = StartOf("a");
  Enter(*start, 1);
  store_.Begin(*start);
  Sequence* sequence = SequenceOf(*start);
  EXPECT_EQ(sequence->memory, nullptr);
  store_.End(*sequence, false, At(1));  // its run left none: it failed
  EXPECT_FALSE(store_.Knows("a"));
}

TEST_F(StatefulSequenceStoreTest, ForgetsTheStateBeforeAStartThatIsRefusedOrLeaves) {
  Run(*Of("a"), 0);
  EXPECT_TRUE(store_.Knows("a"));
  store_.LoseStart("a");
  EXPECT_FALSE(store_.Knows("a"));
  store_.LoseStart("a");  // unknown: nothing to forget
  Run(*Of("a"), 1);
  const auto start = StartOf("a");
  Enter(*start, 2);
  store_.Leave(*start, At(2));
  EXPECT_EQ(store_.size(), 0U);
}

TEST_F(StatefulSequenceStoreTest, LetsWhatCameBeforeALostStartGoOn) {
  Run(*Of("a"), 0);
  const auto before = Of("a"), start = StartOf("a"), after = Of("a"), behind = Of("a");
  for (const auto* job : {&before, &start, &after}) Enter(**job, 1);
  store_.Leave(*start, At(2));
  EXPECT_TRUE(store_.Knows("a")) << "what comes now follows `after`";
  store_.Leave(*after, At(2));
  EXPECT_FALSE(store_.Knows("a")) << "what comes now follows the lost start";
  Enter(*behind, 3);
  store_.Begin(*before);
  Sequence* sequence = SequenceOf(*before);
  EXPECT_NE(sequence->memory, nullptr);
  EXPECT_EQ(store_.End(*sequence, false, At(4)), behind.get());
  store_.Begin(*behind);
  EXPECT_EQ(sequence->memory, nullptr);
  store_.End(*sequence, false, At(5));
  EXPECT_EQ(store_.size(), 0U);
}

TEST_F(StatefulSequenceStoreTest, ForgetsWhatRunsWhenAStartBehindItIsRefused) {
  Run(*Of("a"), 0);
  const auto before = Of("a");
  Enter(*before, 1);
  store_.Begin(*before);
  store_.LoseStart("a");
  EXPECT_FALSE(store_.Knows("a"));
  Sequence* sequence = SequenceOf(*before);
  EXPECT_NE(sequence->memory, nullptr) << "it runs on";
  store_.End(*sequence, false, At(2));
  EXPECT_EQ(store_.size(), 0U);
}

TEST_F(StatefulSequenceStoreTest, ForgetsAnEndedSequence) {
  Run(*Of("a"), 0, /*forget=*/true);
  EXPECT_EQ(store_.size(), 0U);
}

}  // namespace
}  // namespace verdict
