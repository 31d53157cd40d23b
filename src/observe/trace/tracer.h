#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "observe/trace/otlp_exporter.h"
#include "observe/trace/span_record.h"
#include "observe/trace/trace_context.h"
#include "observe/trace/trace_counters.h"
#include "observe/trace/trace_settings.h"

namespace verdict {

/// What a request has to know of its own trace.
struct RequestTrace {
  bool sampled = false;  // if not, there is nothing else in it
  TraceId trace_id{};
  SpanId span_id{};    // the request's own
  SpanId parent_id{};  // the caller's; zero: none
  std::string_view tracestate;

  /// The record to be filled in and given to Tracer::Record.
  SpanRecord Span() const {
    SpanRecord span;
    span.trace_id = trace_id;
    span.span_id = span_id;
    span.parent_id = parent_id;
    span.tracestate = tracestate;
    return span;
  }
  /// The response's header traceparent. Only if sampled.
  std::array<char, kTraceparentBytes> Traceparent() const {
    return FormatTraceparent(trace_id, span_id, true);
  }
};

/// Decides which requests are traced, and takes their spans. Per request:
///
///     const RequestTrace trace = tracer.Begin(worker, model, ParseTraceContext(…));
///     …
///     if (trace.sampled) {
///       SpanRecord span = trace.Span();
///       span.model = …;
///       tracer.Record(worker, span);
///     }
///
/// Nothing here waits for a collector, or for another thread's request: a span for which there is
/// no room is dropped and counted.
class Tracer {
 public:
  /// workers: how many threads trace; each uses its own number in [0, workers).
  /// counters: outlives the tracer.
  Tracer(int workers, TraceCounters* counters);

  /// From now on spans go to a collector. settings: those that hold for all models, and that a
  /// change can go back to. Call it at most once, before the workers run.
  /// Errors: those of OtlpExporter::Start.
  Status Start(OtlpOptions options, const TraceSettings& settings);
  /// Sends what is left, for at most `patience`. After the workers' last Record.
  void Stop(std::chrono::milliseconds patience);

  /// False: nothing is traced. Threads: any.
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  /// Whether and as what this request is traced. Where the caller has a trace, its decision holds;
  /// else one request in `rate` begins one. Cost: a load if tracing is off for all models.
  /// Threads: the worker's own.
  RequestTrace Begin(int worker, std::string_view model, const TraceContext& context) {
    if (!enabled_.load(std::memory_order_relaxed)) return {};
    return Sample(worker, model, context);
  }

  /// Threads: the worker's own. Cost: copies the record.
  void Record(int worker, const SpanRecord& span);

  /// Those in force now for a model, or for all others (""); `count` is what is left of it.
  /// Threads: any.
  TraceSettings Settings(std::string_view model) const;

  /// Changes those of a model, or those of all others (""). A model's that are not set follow the
  /// latter. The caller sees to it that there is such a model. Errors: kInvalidArgument (rate 0,
  /// count below -1); kFailedPrecondition where there is no collector to trace to. Threads: any.
  Status Update(std::string_view model, const TraceSettingsUpdate& update);

 private:
  /// Settings in force, and how many requests are left of their count.
  struct Rule {
    explicit Rule(const TraceSettings& the_settings)
        : settings(the_settings), remaining(the_settings.count) {}
    const TraceSettings settings;
    std::atomic<int64_t> remaining;  // negative: without end
  };
  struct Rules {
    std::shared_ptr<Rule> all;
    std::map<std::string, std::shared_ptr<Rule>, std::less<>> models;
    Rule& For(std::string_view model) const {
      const auto found = models.find(model);
      return found == models.end() ? *all : *found->second;
    }
  };
  /// A model's own settings; absent: as for all.
  struct Overrides {
    std::optional<bool> timestamps;
    std::optional<uint64_t> rate;
    std::optional<int64_t> count;
  };
  struct alignas(64) WorkerState {
    uint64_t generation = 0;  // of `rules`
    std::shared_ptr<const Rules> rules;
    std::mt19937_64 random;
  };

  RequestTrace Sample(int worker, std::string_view model, const TraceContext& context);
  /// Puts changed settings in force; a rule that stays the same keeps what is left of its count,
  /// unless `renewed` names it. Holds mutex_.
  void Rebuild(const TraceSettings& all, std::optional<std::string_view> renewed);

  TraceCounters& counters_;
  std::vector<WorkerState> workers_;
  OtlpExporter::Rings rings_;
  std::atomic<bool> enabled_{false};
  std::atomic<uint64_t> generation_{1};
  mutable std::mutex mutex_;  // guards what follows
  TraceSettings initial_;
  std::map<std::string, Overrides, std::less<>> overrides_;
  std::shared_ptr<const Rules> rules_;
  std::unique_ptr<OtlpExporter> exporter_;  // before the rings go
};

}  // namespace verdict
