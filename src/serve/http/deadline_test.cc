#include "serve/http/deadline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr Clock::time_point kArrival{std::chrono::seconds(100)};

Result<Clock::time_point> Deadline(const std::string& own, const std::string& envoy) {
  RequestHead head;
  head.deadline_us = own;
  head.envoy_timeout_ms = envoy;
  return DeadlineOf(head, kArrival);
}

TEST(DeadlineOf, TakesTheSoonerOfBothFields) {
  EXPECT_EQ(Deadline("", "").value(), Clock::time_point::max());
  EXPECT_EQ(Deadline("1500", "").value(), kArrival + microseconds(1500));
  EXPECT_EQ(Deadline("", "2").value(), kArrival + microseconds(2000));
  EXPECT_EQ(Deadline("1500", "2").value(), kArrival + microseconds(1500));
  EXPECT_EQ(Deadline("1500", "1").value(), kArrival + microseconds(1000));
  EXPECT_EQ(Deadline("", "0").value(), Clock::time_point::max()) << "Envoy's word for none";
}

TEST(DeadlineOf, HugeOnesDoNotOverflow) {
  for (const char* huge : {"86400000001", "18446744073709551615"}) {
    EXPECT_EQ(Deadline(huge, "").value(), kArrival + std::chrono::hours(24)) << huge;
    EXPECT_EQ(Deadline("", huge).value(), kArrival + std::chrono::hours(24)) << huge;
  }
}

TEST(DeadlineOf, NamesTheFieldThatIsWrong) {
  for (const char* bad : {"0", "-1", "1.5", "1e3", "soon", "99999999999999999999"}) {
    const Status status = Deadline(bad, "").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(status.message(), testing::HasSubstr("Verdict-Deadline-Us"));
  }
  EXPECT_THAT(Deadline("", "x").status().message(),
              testing::HasSubstr("x-envoy-expected-rq-timeout-ms"));
}

}  // namespace
}  // namespace verdict
