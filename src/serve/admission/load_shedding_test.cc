#include "serve/admission/load_shedding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Which of the priorities 1, 2, 3 and "none named" are admitted, as "123-".
std::string Admitted(const ShedPolicy& policy, const LoadSnapshot& load) {
  std::string text;
  for (uint32_t priority : {1U, 2U, 3U, 0U}) {
    if (!AdmitsUnderLoad(policy, load, priority)) continue;
    text += priority == 0 ? "-" : std::to_string(priority);
  }
  return text;
}

TEST(LoadShedding, TurnsTheLeastUrgentAwayFirst) {
  ShedPolicy policy;  // 0.8, levels 3, default 2
  policy.queue_delay_watermark = milliseconds(10);
  policy.queue_delay_limit = milliseconds(30);
  struct Case {
    int64_t in_flight;
    int64_t max_in_flight;
    int64_t delay_us;
    std::string admitted;
  };
  const std::vector<Case> cases = {
      {0, 100, 0, "123-"},     {79, 100, 0, "123-"},    {80, 100, 0, "12-"},
      {89, 100, 0, "12-"},     {90, 100, 0, "1"},       {99, 100, 0, "1"},
      {100, 100, 0, ""},       {5000, 100, 0, ""},      {5000, 0, 0, "123-"},
      {0, 100, 9'999, "123-"}, {0, 100, 10'000, "12-"}, {0, 100, 19'999, "12-"},
      {0, 100, 20'000, "1"},   {0, 100, 29'999, "1"},   {0, 100, 30'000, ""},
      {0, 0, 1'000'000, ""},   {90, 100, 10'000, "1"},  {80, 100, 20'000, "1"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Admitted(policy, {c.in_flight, c.max_in_flight, microseconds(c.delay_us)}),
              c.admitted)
        << c.in_flight << " of " << c.max_in_flight << ", " << c.delay_us << " us";
  }
}

TEST(LoadShedding, WithOneLevelAdmitsUntilTheLimit) {
  ShedPolicy policy;
  policy.priority_levels = 1;
  EXPECT_EQ(Admitted(policy, {99, 100, {}}), "123-");
  EXPECT_EQ(Admitted(policy, {100, 100, {}}), "");
}

TEST(LoadShedding, WithoutAWatermarkTheQueueDoesNotCount) {
  EXPECT_EQ(Admitted(ShedPolicy(), {0, 100, std::chrono::hours(1)}), "123-");
}

TEST(LoadShedding, TheLimitIsTwiceTheWatermarkUnlessSet) {
  ShedPolicy policy;
  policy.queue_delay_watermark = microseconds(100);
  EXPECT_EQ(Admitted(policy, {0, 0, microseconds(199)}), "1");
  EXPECT_EQ(Admitted(policy, {0, 0, microseconds(200)}), "");
}

TEST(LoadShedding, AWatermarkAtTheLimitIsTheLimit) {
  ShedPolicy policy;
  policy.in_flight_watermark = 1.0;
  EXPECT_EQ(Admitted(policy, {99, 100, {}}), "123-");
  EXPECT_EQ(Admitted(policy, {100, 100, {}}), "");
}

TEST(QueueDelayMeter, ComesToWhatIsObserved) {
  QueueDelayMeter meter;
  const auto start = QueueDelayMeter::Clock::time_point(std::chrono::hours(1));
  EXPECT_EQ(meter.Estimate(start).count(), 0);
  for (int i = 0; i < 200; ++i) meter.Observe(microseconds(1000), start);
  EXPECT_EQ(meter.Estimate(start).count(), 1000);
  for (int i = 0; i < 400; ++i) meter.Observe(microseconds(0), start);
  EXPECT_EQ(meter.Estimate(start).count(), 0);
}

TEST(QueueDelayMeter, ForgetsWhileNothingRuns) {
  QueueDelayMeter meter;
  const auto start = QueueDelayMeter::Clock::time_point(std::chrono::hours(1));
  for (int i = 0; i < 200; ++i) meter.Observe(microseconds(1000), start);
  EXPECT_EQ(meter.Estimate(start + milliseconds(49)).count(), 1000);
  EXPECT_EQ(meter.Estimate(start + milliseconds(50)).count(), 500);
  EXPECT_EQ(meter.Estimate(start + milliseconds(500)).count(), 0);
  EXPECT_EQ(meter.Estimate(start - milliseconds(1)).count(), 1000)
      << "threads read the clock apart";
}

}  // namespace
}  // namespace verdict
