#pragma once

#include <chrono>

#include "base/status.h"
#include "serve/http/message.h"

namespace verdict {

/// Until when the client waits: the sooner of Verdict-Deadline-Us (microseconds, whole) and
/// x-envoy-expected-rq-timeout-ms (milliseconds, whole), counted from the request's first byte.
/// Returns: time_point::max() where it says neither; Envoy's 0 means none too. Errors:
/// kInvalidArgument that names the field: not a whole number, or a deadline of 0.
Result<std::chrono::steady_clock::time_point> DeadlineOf(
    const RequestHead& head, std::chrono::steady_clock::time_point arrival);

}  // namespace verdict
