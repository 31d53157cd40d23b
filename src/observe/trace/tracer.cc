#include "observe/trace/tracer.h"

#include <cstring>
#include <utility>

#include "observe/trace/otlp_json.h"

namespace verdict {
namespace {

template <size_t N>
void FillWithRandom(std::mt19937_64* random, std::array<uint8_t, N>* id) {
  static_assert(N % sizeof(uint64_t) == 0);
  do {
    for (size_t at = 0; at < N; at += sizeof(uint64_t)) {
      const uint64_t bits = (*random)();
      std::memcpy(id->data() + at, &bits, sizeof(bits));
    }
  } while (*id == std::array<uint8_t, N>{});  // zero is no id
}

}  // namespace

Tracer::Tracer(int workers, TraceCounters* counters)
    : counters_(*counters), workers_(static_cast<size_t>(workers)) {
  std::random_device device;
  for (WorkerState& worker : workers_) {
    std::seed_seq seed{device(), device(), device(), device()};
    worker.random.seed(seed);
  }
  std::lock_guard lock(mutex_);
  Rebuild(initial_, std::nullopt);
}

Status Tracer::Start(OtlpOptions options, const TraceSettings& settings) {
  if (settings.rate == 0) return InvalidArgument("trace_rate must be at least 1");
  for (size_t i = 0; i < workers_.size(); ++i) rings_.push_back(std::make_unique<SpanRing>());
  VERDICT_ASSIGN_OR_RETURN(auto exporter,
                           OtlpExporter::Start(std::move(options), rings_, &counters_));
  std::lock_guard lock(mutex_);
  exporter_ = std::move(exporter);
  initial_ = settings;
  Rebuild(initial_, std::nullopt);
  return OkStatus();
}

void Tracer::Stop(std::chrono::milliseconds patience) {
  enabled_.store(false);
  std::unique_ptr<OtlpExporter> exporter;
  {
    std::lock_guard lock(mutex_);
    exporter = std::move(exporter_);
  }
  if (exporter != nullptr) exporter->Stop(patience);
}

RequestTrace Tracer::Sample(int worker, std::string_view model, const TraceContext& context) {
  WorkerState& state = workers_[static_cast<size_t>(worker)];
  if (state.generation != generation_.load(std::memory_order_acquire)) {
    std::lock_guard lock(mutex_);
    state.rules = rules_;
    state.generation = generation_.load(std::memory_order_relaxed);
  }
  Rule& rule = state.rules->For(model);
  if (!rule.settings.timestamps) return {};
  const bool wanted =
      context.has_parent() ? context.sampled : state.random() % rule.settings.rate == 0;
  if (!wanted) return {};
  if (rule.settings.count >= 0) {
    int64_t left = rule.remaining.load(std::memory_order_relaxed);
    do {
      if (left <= 0) return {};
    } while (!rule.remaining.compare_exchange_weak(left, left - 1, std::memory_order_relaxed));
  }
  RequestTrace trace;
  trace.sampled = true;
  if (context.has_parent()) {
    trace.trace_id = context.trace_id;
    trace.parent_id = context.parent_id;
    trace.tracestate = context.tracestate;
  } else {
    FillWithRandom(&state.random, &trace.trace_id);
  }
  FillWithRandom(&state.random, &trace.span_id);
  return trace;
}

void Tracer::Record(int worker, const SpanRecord& span) {
  if (rings_.empty() || !rings_[static_cast<size_t>(worker)]->Push(span)) {
    counters_.dropped.fetch_add(static_cast<uint64_t>(SpanCount(span)), std::memory_order_relaxed);
  }
}

TraceSettings Tracer::Settings(std::string_view model) const {
  std::lock_guard lock(mutex_);
  const Rule& rule = rules_->For(model);
  TraceSettings settings = rule.settings;
  settings.count = rule.remaining.load(std::memory_order_relaxed);
  return settings;
}

Status Tracer::Update(std::string_view model, const TraceSettingsUpdate& update) {
  if (update.rate.has_value() && *update.rate == uint64_t{0}) {
    return InvalidArgument("trace_rate must be at least 1");
  }
  if (update.count.has_value() && update.count->value_or(0) < -1) {
    return InvalidArgument("trace_count must be -1 (without end) or at least 0");
  }
  std::lock_guard lock(mutex_);
  if (exporter_ == nullptr && update.timestamps.has_value() && *update.timestamps == true) {
    return FailedPrecondition(
        "there is no collector to trace to: set tracing.endpoint in the server's configuration");
  }
  TraceSettings all = rules_->all->settings;
  if (model.empty()) {
    if (update.timestamps) all.timestamps = update.timestamps->value_or(initial_.timestamps);
    if (update.rate) all.rate = update.rate->value_or(initial_.rate);
    if (update.count) all.count = update.count->value_or(initial_.count);
  } else {
    Overrides& own = overrides_[std::string(model)];
    if (update.timestamps) own.timestamps = *update.timestamps;
    if (update.rate) own.rate = *update.rate;
    if (update.count) own.count = *update.count;
    if (!own.timestamps && !own.rate && !own.count) overrides_.erase(overrides_.find(model));
  }
  Rebuild(all, update.count.has_value() ? std::optional(model) : std::nullopt);
  return OkStatus();
}

void Tracer::Rebuild(const TraceSettings& all, std::optional<std::string_view> renewed) {
  auto rules = std::make_shared<Rules>();
  // A change of the level or rate alone does not give a used-up count back.
  const auto make = [&](const TraceSettings& settings, const std::shared_ptr<Rule>& old,
                        std::string_view model) {
    auto rule = std::make_shared<Rule>(settings);
    if (old != nullptr && renewed != model && old->settings.count == settings.count) {
      rule->remaining.store(old->remaining.load());
    }
    return rule;
  };
  bool any = all.timestamps;
  rules->all = make(all, rules_ == nullptr ? nullptr : rules_->all, "");
  for (const auto& [model, own] : overrides_) {
    const TraceSettings settings{own.timestamps.value_or(all.timestamps),
                                 own.rate.value_or(all.rate), own.count.value_or(all.count)};
    const auto old = rules_->models.find(model);
    rules->models[model] =
        make(settings, old == rules_->models.end() ? nullptr : old->second, model);
    any = any || settings.timestamps;
  }
  rules_ = std::move(rules);
  generation_.fetch_add(1, std::memory_order_release);
  enabled_.store(any && exporter_ != nullptr);
}

}  // namespace verdict
