#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "observe/trace/trace_context.h"

namespace verdict {

/// One traced request: its span, and the times from which the spans of its phases are made. No
/// feature value and no score is in it.
struct SpanRecord {
  using Clock = std::chrono::steady_clock;

  TraceId trace_id{};
  SpanId span_id{};
  SpanId parent_id{};  // zero: the trace begins here
  std::string_view tracestate;

  std::string_view model;
  std::string_view version;  // that answered; empty: none did
  int64_t rows = 0;
  StatusCode status = StatusCode::kOk;

  // One after another; what was not reached has none (time_point{}).
  Clock::time_point received;  // the request is complete
  Clock::time_point parsed;    // its tensors have been read: it may wait in a queue from now on
  Clock::time_point started;   // its run began
  Clock::time_point computed;  // its run ended
  Clock::time_point done;      // the response is complete
};

}  // namespace verdict
