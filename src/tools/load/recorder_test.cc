#include "tools/load/recorder.h"

#include <gtest/gtest.h>

namespace verdict::load {
namespace {

constexpr int64_t kUs = 1000;

Recorder Make(int64_t begin_ns, int64_t end_ns, int64_t deadline_ns = 0) {
  return {Protocol::kHttp, begin_ns, end_ns, deadline_ns, [](int ending) { return ending == 200; }};
}

TEST(Recorder, LatencyCountsFromTheIntendedTimeAndServiceFromTheSending) {
  Recorder recorder(Protocol::kHttp, 0, 1'000'000'000, 0, [](int) { return true; });
  recorder.Record({.intended_ns = 10 * kUs, .free_ns = 0, .sent_ns = 15 * kUs, .done_ns = 40 * kUs},
                  200, "", 7);
  const Measurement total = recorder.measurement();
  EXPECT_EQ(total.latency.max_ns(), 30 * kUs);
  EXPECT_EQ(total.service.max_ns(), 25 * kUs);
  EXPECT_EQ(total.lag.max_ns(), 5 * kUs);
  EXPECT_EQ(total.queued, 0u);
  EXPECT_EQ(total.response_bytes, 7u);
}

TEST(Recorder, WaitingForAConnectionIsNoLagOfTheGenerator) {
  Recorder recorder(Protocol::kHttp, 0, 1'000'000'000, 0, [](int) { return true; });
  recorder.Record(
      {.intended_ns = 10 * kUs, .free_ns = 90 * kUs, .sent_ns = 91 * kUs, .done_ns = 99 * kUs}, 200,
      "", 0);
  EXPECT_EQ(recorder.measurement().lag.max_ns(), 1 * kUs);
  EXPECT_EQ(recorder.measurement().queued, 1u);
  EXPECT_EQ(recorder.measurement().latency.max_ns(), 89 * kUs);
}

TEST(Recorder, WarmUpIsNotMeasured) {
  Recorder recorder(Protocol::kHttp, 100, 200, 0, [](int) { return true; });
  for (const int64_t intended : {99, 100, 199, 200}) {
    recorder.Record({intended, 0, intended, intended + 500}, 200, "", 0);
  }
  EXPECT_EQ(recorder.measurement().requests(), 2u);
  EXPECT_EQ(recorder.answered(), 4u);
  Interval interval;
  recorder.TakeInterval(&interval);
  EXPECT_EQ(interval.succeeded, 4u);
  Interval next;
  recorder.TakeInterval(&next);
  EXPECT_EQ(next.succeeded, 0u);
  EXPECT_EQ(next.latency.count(), 0u);
}

TEST(Recorder, WhatWasDroppedCountsAsAFailureAndAsSlow) {
  Recorder recorder(Protocol::kHttp, 0, INT64_MAX, 50 * kUs, [](int) { return true; });
  recorder.Record({10 * kUs, 60 * kUs, -1, 60 * kUs}, kDropped, "", 0);
  const Measurement total = recorder.measurement();
  EXPECT_EQ(total.requests(), 1u);
  EXPECT_EQ(total.endings.at(kDropped), 1u);
  EXPECT_EQ(total.in_time, 0u);
  EXPECT_EQ(total.latency.max_ns(), 50 * kUs);
  EXPECT_EQ(total.lag.count(), 0u);
  EXPECT_EQ(recorder.answered(), 0u);
  int ending = 0;
  EXPECT_TRUE(ParseEnding(Protocol::kGrpc, "dropped", &ending));
  EXPECT_EQ(ending, kDropped);
}

TEST(Recorder, AnswersWithinTheDeadlineAreGoodput) {
  Recorder recorder(Protocol::kHttp, 0, INT64_MAX, 50 * kUs, [](int) { return true; });
  // The second is answered within 50 us of its sending, but not of its intended time.
  recorder.Record({0, 0, 0, 50 * kUs}, 200, "", 0);
  recorder.Record({0, 0, 20 * kUs, 51 * kUs}, 200, "", 0);
  recorder.Record({0, 0, 0, 10 * kUs}, 503, "", 0);
  EXPECT_EQ(recorder.measurement().in_time, 1u);
  EXPECT_EQ(recorder.measurement().requests(), 3u);
}

TEST(Recorder, RejectionsAreApartAndWhatWasGivenUpIsNot) {
  Recorder recorder(Protocol::kHttp, 0, INT64_MAX, 0, [](int) { return true; });
  recorder.Record({0, 0, 0, 5 * kUs}, 503, "", 0);
  recorder.Record({0, 0, 0, 800 * kUs}, kTimedOut, "", 0);
  recorder.Record({0, 0, -1, 900 * kUs}, kUnanswered, "", 0);
  recorder.Record({0, 0, 0, 3 * kUs}, kClosed, "", 0);
  const Measurement total = recorder.measurement();
  EXPECT_EQ(total.rejected.count(), 1u);
  EXPECT_EQ(total.latency.count(), 2u);
  EXPECT_EQ(total.latency.max_ns(), 900 * kUs);
  EXPECT_EQ(total.service.count(), 0u);
  EXPECT_EQ(total.endings.at(kClosed), 1u);
}

TEST(Recorder, ACallThatItsDeadlineEndedIsSlowAndNotRejected) {
  constexpr int kDeadlineExceeded = 4;
  Recorder recorder(Protocol::kGrpc, 0, INT64_MAX, 50 * kUs, [](int) { return true; });
  recorder.Record({0, 0, 0, 50 * kUs}, kDeadlineExceeded, "", 0);
  recorder.Record({0, 0, 0, 20 * kUs}, kDeadlineExceeded, "", 0);  // the server's, at once
  const Measurement total = recorder.measurement();
  EXPECT_EQ(total.latency.count(), 1u);
  EXPECT_EQ(total.latency.max_ns(), 50 * kUs);
  EXPECT_EQ(total.rejected.count(), 1u);
  EXPECT_EQ(total.endings.at(kDeadlineExceeded), 2u);
}

TEST(Recorder, KeepsTheTextOfTheFirstAnswerThatIsNotAllowed) {
  Recorder recorder = Make(0, INT64_MAX);
  recorder.Record({}, 200, "fine", 0);
  recorder.Record({}, 500, "first", 0);
  recorder.Record({}, 503, "second", 0);
  EXPECT_EQ(recorder.measurement().unexpected, 500);
  EXPECT_EQ(recorder.measurement().unexpected_text, "first");
}

TEST(Recorder, RefusedConnectionsAreNoRequests) {
  Recorder recorder = Make(0, 100);
  recorder.RecordRefused(50, "refused");
  recorder.RecordRefused(500, "refused");
  EXPECT_EQ(recorder.measurement().endings.at(kRefused), 1u);
  EXPECT_EQ(recorder.measurement().requests(), 0u);
  EXPECT_EQ(recorder.measurement().unexpected, kRefused);
}

TEST(Measurement, OfAllThreadsIsTheSum) {
  Recorder left = Make(0, INT64_MAX);
  Recorder right = Make(0, INT64_MAX);
  left.Record({0, 0, 0, 10}, 200, "", 1);
  right.Record({0, 0, 0, 20}, 404, "not here", 2);
  Measurement total = left.measurement();
  total.Add(right.measurement());
  EXPECT_EQ(total.requests(), 2u);
  EXPECT_EQ(total.endings.at(404), 1u);
  EXPECT_EQ(total.response_bytes, 3u);
  EXPECT_EQ(total.unexpected_text, "not here");
  EXPECT_EQ(total.last_done_ns, 20);
}

TEST(Ending, NamesReadBack) {
  for (const Protocol protocol : {Protocol::kHttp, Protocol::kGrpc, Protocol::kGrpcStream}) {
    for (const int ending :
         {200, 404, 503, kClosed, kTimedOut, kMalformed, kRefused, kUnanswered}) {
      if (protocol != Protocol::kHttp && ending > 16) continue;
      int read = 0;
      EXPECT_TRUE(ParseEnding(protocol, EndingName(protocol, ending), &read));
      EXPECT_EQ(read, ending);
    }
  }
  int read = -9;
  EXPECT_TRUE(ParseEnding(Protocol::kGrpc, "unavailable", &read));
  EXPECT_EQ(read, 14);
  EXPECT_TRUE(ParseEnding(Protocol::kGrpc, "0", &read));
  EXPECT_EQ(read, 0);
  for (const char* text : {"", "2", "99", "1000", "20x", "OK"}) {
    EXPECT_FALSE(ParseEnding(Protocol::kHttp, text, &read)) << text;
  }
  EXPECT_FALSE(ParseEnding(Protocol::kGrpc, "17", &read));
  EXPECT_FALSE(ParseEnding(Protocol::kGrpc, "200", &read));
}

}  // namespace
}  // namespace verdict::load
