#include "observe/trace/otlp_json.h"

#include <array>
#include <cstdint>

#include "base/json_writer.h"

namespace verdict {
namespace {

using TimePoint = SpanRecord::Clock::time_point;

// Numbers of opentelemetry.proto.trace.v1.
constexpr int kKindInternal = 1;
constexpr int kKindServer = 2;
constexpr int kStatusError = 2;

struct Phase {
  std::string_view name;
  TimePoint start;
  TimePoint end;
};

/// The phases a request reached, in order; the last ends with the request where it failed in it.
std::array<Phase, 4> PhasesOf(const SpanRecord& record) {
  std::array<Phase, 4> phases = {Phase{"parse", record.received, record.parsed},
                                 Phase{"queue", record.parsed, record.started},
                                 Phase{"compute", record.started, record.computed},
                                 Phase{"serialise", record.computed, record.done}};
  for (Phase& phase : phases) {
    if (phase.start != TimePoint{} && phase.end == TimePoint{}) phase.end = record.done;
  }
  return phases;
}

bool IsReached(const Phase& phase) { return phase.start != TimePoint{}; }

/// Only what the server did wrong is an error of its span; what the client did wrong is not.
bool IsServerError(StatusCode code) {
  switch (code) {
    case StatusCode::kUnknown:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnimplemented:
    case StatusCode::kInternal:
    case StatusCode::kUnavailable:
    case StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

void WriteString(std::string_view key, std::string_view value, JsonWriter* json) {
  json->BeginObject().Key("key").String(key).Key("value").BeginObject();
  json->Key("stringValue").String(value).EndObject().EndObject();
}

void WriteInt(std::string_view key, int64_t value, JsonWriter* json) {
  json->BeginObject().Key("key").String(key).Key("value").BeginObject();
  json->Key("intValue").String(std::to_string(value)).EndObject().EndObject();
}

void WriteTime(std::string_view key, TimePoint time, std::chrono::nanoseconds offset,
               JsonWriter* json) {
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()) + offset;
  json->Key(key).String(std::to_string(since_epoch.count()));
}

void WriteIds(const TraceId& trace, const SpanId& span, const SpanId& parent, JsonWriter* json) {
  json->Key("traceId").String(HexText(trace)).Key("spanId").String(HexText(span));
  if (parent != SpanId{}) json->Key("parentSpanId").String(HexText(parent));
}

void WriteRequestSpan(const StoredSpan& span, std::chrono::nanoseconds offset, JsonWriter* json) {
  const SpanRecord& record = span.record;
  json->BeginObject();
  WriteIds(record.trace_id, record.span_id, record.parent_id, json);
  if (!span.tracestate.empty()) json->Key("traceState").String(span.tracestate);
  json->Key("name").String("infer").Key("kind").Int(kKindServer);
  WriteTime("startTimeUnixNano", record.received, offset, json);
  WriteTime("endTimeUnixNano", record.done, offset, json);
  json->Key("attributes").BeginArray();
  WriteString("verdict.model", span.model, json);
  if (!span.version.empty()) WriteString("verdict.version", span.version, json);
  WriteInt("verdict.rows", record.rows, json);
  WriteString("verdict.status", StatusCodeName(record.status), json);
  json->EndArray();
  if (IsServerError(record.status)) {
    json->Key("status").BeginObject().Key("code").Int(kStatusError).EndObject();
  }
  json->EndObject();
}

void WritePhaseSpan(const StoredSpan& span, const Phase& phase, const SpanId& id,
                    std::chrono::nanoseconds offset, JsonWriter* json) {
  json->BeginObject();
  WriteIds(span.record.trace_id, id, span.record.span_id, json);
  json->Key("name").String(phase.name).Key("kind").Int(kKindInternal);
  WriteTime("startTimeUnixNano", phase.start, offset, json);
  WriteTime("endTimeUnixNano", phase.end, offset, json);
  json->EndObject();
}

}  // namespace

int SpanCount(const SpanRecord& record) {
  int count = 1;
  for (const Phase& phase : PhasesOf(record)) count += IsReached(phase) ? 1 : 0;
  return count;
}

std::string OtlpTraceRequest(std::span<const StoredSpan> spans, std::string_view service_version,
                             std::chrono::nanoseconds system_minus_steady,
                             const std::function<SpanId()>& new_span_id) {
  JsonWriter json;
  json.BeginObject().Key("resourceSpans").BeginArray().BeginObject();
  json.Key("resource").BeginObject().Key("attributes").BeginArray();
  WriteString("service.name", "verdict", &json);
  WriteString("service.version", service_version, &json);
  json.EndArray().EndObject();
  json.Key("scopeSpans").BeginArray().BeginObject();
  json.Key("scope").BeginObject().Key("name").String("verdict").EndObject();
  json.Key("spans").BeginArray();
  for (const StoredSpan& span : spans) {
    WriteRequestSpan(span, system_minus_steady, &json);
    for (const Phase& phase : PhasesOf(span.record)) {
      if (IsReached(phase)) {
        WritePhaseSpan(span, phase, new_span_id(), system_minus_steady, &json);
      }
    }
  }
  json.EndArray().EndObject().EndArray().EndObject().EndArray().EndObject();
  return json.text();
}

}  // namespace verdict
