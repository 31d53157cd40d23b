#include "serve/http/deadline.h"

#include <algorithm>
#include <string>

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

/// Longer ones are cut to it, a day, so that no sum overflows.
constexpr size_t kMaxUs = size_t{86'400} * 1'000'000;

}  // namespace

Result<Clock::time_point> DeadlineOf(const RequestHead& head, Clock::time_point arrival) {
  Clock::time_point deadline = Clock::time_point::max();
  if (!head.deadline_us.empty()) {
    const auto us = ParseLength(head.deadline_us);
    if (!us.has_value() || *us == 0) {
      return InvalidArgument(
          "Verdict-Deadline-Us must be a whole number of microseconds that is not 0");
    }
    deadline = arrival + std::chrono::microseconds(std::min(*us, kMaxUs));
  }
  if (!head.envoy_timeout_ms.empty()) {
    const auto ms = ParseLength(head.envoy_timeout_ms);
    if (!ms.has_value()) {
      return InvalidArgument(
          "x-envoy-expected-rq-timeout-ms must be a whole number of milliseconds");
    }
    if (*ms != 0) {
      deadline =
          std::min(deadline, arrival + std::chrono::milliseconds(std::min(*ms, kMaxUs / 1000)));
    }
  }
  return deadline;
}

}  // namespace verdict
