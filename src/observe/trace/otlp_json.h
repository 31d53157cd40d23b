#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "observe/trace/span_ring.h"

namespace verdict {

/// How many spans a record becomes: the request's, and one for each phase that it reached.
int SpanCount(const SpanRecord& record);

/// The body of a request to a collector's /v1/traces: OpenTelemetry's ExportTraceServiceRequest in
/// its JSON encoding.
///
/// spans: their steady times become times of the day by `system_minus_steady`, the difference of
///   the clocks at this moment: a wall clock that jumps cannot make a span of negative length.
/// service_version: of this program.
/// new_span_id: makes the ids of the phases' spans.
/// Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (ids in hexadecimal,
/// 64-bit numbers as strings, enums as numbers).
std::string OtlpTraceRequest(std::span<const StoredSpan> spans, std::string_view service_version,
                             std::chrono::nanoseconds system_minus_steady,
                             const std::function<SpanId()>& new_span_id);

}  // namespace verdict
