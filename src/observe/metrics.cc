#include "observe/metrics.h"

#include <prometheus/text_serializer.h>

#include <functional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/unix_time.h"
#include "observe/gpu/gpu_families.h"
#include "observe/metric_family.h"

namespace verdict {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = MetricLabels;

MetricFamily Single(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family = MakeFamily(name, help, type);
  AddMetric(&family, {}, value);
  return family;
}

ClientMetric HistogramOf(Labels labels, const DurationCounts& counts, uint64_t sum_ns) {
  ClientMetric metric;
  metric.label = std::move(labels);
  uint64_t cumulative = 0;
  for (size_t i = 0; i < kDurationBucketsUs.size(); ++i) {
    cumulative += counts[i];
    metric.histogram.bucket.push_back({cumulative, static_cast<double>(kDurationBucketsUs[i])});
  }
  metric.histogram.sample_count = cumulative + counts.back();
  metric.histogram.sample_sum = static_cast<double>(sum_ns) / 1000;
  return metric;
}

/// Rows a run, of the runs of one model.
ClientMetric RowsHistogramOf(Labels labels, const BatchSizes::Totals& sizes) {
  ClientMetric metric;
  metric.label = std::move(labels);
  uint64_t runs = 0;
  uint64_t rows = 0;
  size_t next = 0;
  for (const uint64_t bound : kRowBuckets) {
    for (; next <= BatchSizes::IndexOf(bound); ++next) {
      runs += sizes[next].runs;
      rows += sizes[next].rows;
    }
    metric.histogram.bucket.push_back({runs, static_cast<double>(bound)});
  }
  metric.histogram.sample_count = runs + sizes.back().runs;
  metric.histogram.sample_sum = static_cast<double>(rows + sizes.back().rows);
  return metric;
}

struct ModelSample {
  Labels labels;
  ModelTotals totals;
  bool ready;
  double load_seconds;
};

double Microseconds(uint64_t nanoseconds) {
  const uint64_t whole = nanoseconds / 1000;
  return static_cast<double>(whole);
}

/// One metric of each model, read from its sample.
struct ModelMetric {
  const char* name;
  const char* help;
  MetricType type;
  double (*value)(const ModelSample&);
};

// Names and units of Triton's metrics, so that its dashboards work.
constexpr ModelMetric kModelMetrics[] = {
    {"nv_inference_request_success", "Inference requests that succeeded", MetricType::Counter,
     [](const ModelSample& s) { return static_cast<double>(s.totals.success); }},
    {"nv_inference_count", "Inferences performed: rows, not requests", MetricType::Counter,
     [](const ModelSample& s) { return static_cast<double>(s.totals.inferences); }},
    {"nv_inference_exec_count", "Runs of the engine", MetricType::Counter,
     [](const ModelSample& s) { return static_cast<double>(s.totals.executions); }},
    {"nv_inference_request_duration_us", "Cumulative time of requests, in microseconds",
     MetricType::Counter,
     [](const ModelSample& s) { return Microseconds(s.totals.times.total_ns); }},
    {"nv_inference_queue_duration_us", "Cumulative time in the queue, in microseconds",
     MetricType::Counter,
     [](const ModelSample& s) { return Microseconds(s.totals.times.queue_ns); }},
    {"nv_inference_compute_input_duration_us",
     "Cumulative time reading request tensors, in microseconds", MetricType::Counter,
     [](const ModelSample& s) { return Microseconds(s.totals.times.input_ns); }},
    {"nv_inference_compute_infer_duration_us",
     "Cumulative time running the engine, in microseconds", MetricType::Counter,
     [](const ModelSample& s) { return Microseconds(s.totals.times.infer_ns); }},
    {"nv_inference_compute_output_duration_us",
     "Cumulative time writing response tensors, in microseconds", MetricType::Counter,
     [](const ModelSample& s) { return Microseconds(s.totals.times.output_ns); }},
    {"nv_inference_pending_request_count", "Requests waiting for a run", MetricType::Gauge,
     [](const ModelSample& s) { return static_cast<double>(s.totals.queue.waiting); }},
    {"nv_model_load_duration_secs", "Time it took to load the model, in seconds", MetricType::Gauge,
     [](const ModelSample& s) { return s.load_seconds; }},
    {"verdict_model_ready", "1 if this version of the model is loaded and answers, else 0",
     MetricType::Gauge, [](const ModelSample& s) { return s.ready ? 1.0 : 0.0; }},
    {"verdict_sequences", "Sequences of which a state is kept, or that wait for one",
     MetricType::Gauge,
     [](const ModelSample& s) { return static_cast<double>(s.totals.queue.sequences_held); }},
    {"verdict_sequences_evicted_total",
     "Sequences that were forgotten to make room (max_candidate_sequences)", MetricType::Counter,
     [](const ModelSample& s) { return static_cast<double>(s.totals.queue.sequences_evicted); }},
    {"verdict_sequences_expired_total",
     "Sequences that were forgotten because they were idle for too long", MetricType::Counter,
     [](const ModelSample& s) { return static_cast<double>(s.totals.queue.sequences_expired); }},
};

/// One histogram of each model.
struct DurationMetric {
  const char* name;
  const char* help;
  DurationCounts ModelTotals::*counts;
  uint64_t RequestTimes::*sum_ns;
};

constexpr DurationMetric kDurationMetrics[] = {
    {"verdict_request_duration_us",
     "Time from the whole request to the whole response, in microseconds",
     &ModelTotals::request_durations, &RequestTimes::total_ns},
    {"verdict_compute_input_duration_us", "Time reading request tensors, in microseconds",
     &ModelTotals::input_durations, &RequestTimes::input_ns},
    {"verdict_queue_duration_us", "Time in the queue, in microseconds",
     &ModelTotals::queue_durations, &RequestTimes::queue_ns},
    {"verdict_compute_infer_duration_us", "Time running the engine, in microseconds",
     &ModelTotals::infer_durations, &RequestTimes::infer_ns},
    {"verdict_compute_output_duration_us", "Time writing response tensors, in microseconds",
     &ModelTotals::output_durations, &RequestTimes::output_ns},
};

void AddModelFamilies(const std::vector<ModelSample>& samples,
                      std::vector<MetricFamily>* families) {
  for (const ModelMetric& metric : kModelMetrics) {
    MetricFamily family = MakeFamily(metric.name, metric.help, metric.type);
    for (const ModelSample& sample : samples)
      AddMetric(&family, sample.labels, metric.value(sample));
    families->push_back(std::move(family));
  }

  MetricFamily failures =
      MakeFamily("nv_inference_request_failure", "Inference requests that failed, by reason",
                 MetricType::Counter);
  for (const DurationMetric& metric : kDurationMetrics) {
    MetricFamily family = MakeFamily(metric.name, metric.help, MetricType::Histogram);
    for (const ModelSample& sample : samples) {
      family.metric.push_back(HistogramOf(sample.labels, sample.totals.*metric.counts,
                                          sample.totals.times.*metric.sum_ns));
    }
    families->push_back(std::move(family));
  }
  for (const ModelSample& sample : samples) {
    for (size_t i = 0; i < kFailureReasonNames.size(); ++i) {
      Labels labels = sample.labels;
      labels.push_back({"reason", std::string(kFailureReasonNames[i])});
      AddMetric(&failures, std::move(labels), static_cast<double>(sample.totals.failures[i]));
    }
  }
  families->push_back(std::move(failures));

  MetricFamily rows =
      MakeFamily("verdict_batch_rows", "Rows of a run of the engine", MetricType::Histogram);
  MetricFamily rejections =
      MakeFamily("verdict_queue_rejections_total",
                 "Requests that a queue did not execute, by reason", MetricType::Counter);
  for (const ModelSample& sample : samples) {
    rows.metric.push_back(RowsHistogramOf(sample.labels, sample.totals.sizes));
    for (size_t i = 0; i < kQueueRejectionNames.size(); ++i) {
      Labels labels = sample.labels;
      labels.push_back({"reason", std::string(kQueueRejectionNames[i])});
      AddMetric(&rejections, std::move(labels),
                static_cast<double>(sample.totals.queue.rejected[i]));
    }
  }
  families->push_back(std::move(rows));
  families->push_back(std::move(rejections));
}

void AddServerFamilies(const ServerSample& server, std::vector<MetricFamily>* families) {
  families->push_back(Single("verdict_server_ready",
                             "1 if the server takes traffic: a model is loaded and no shutdown has "
                             "begun",
                             MetricType::Gauge, server.ready ? 1 : 0));
  MetricFamily refused =
      MakeFamily("verdict_requests_refused_total",
                 "Calls that were turned away at the door, by reason", MetricType::Counter);
  for (const auto& [reason, count] : server.refused) {
    AddMetric(&refused, {{"reason", std::string(reason)}}, static_cast<double>(count));
  }
  families->push_back(std::move(refused));
  if (server.certificates.empty()) return;  // no TLS
  MetricFamily expiry =
      MakeFamily("verdict_tls_certificate_expiry_timestamp_seconds",
                 "When a certificate in use ends, as Unix time", MetricType::Gauge);
  for (const ServerSample::Certificate& certificate : server.certificates) {
    AddMetric(&expiry, {{"use", std::string(certificate.use)}},
              static_cast<double>(certificate.expires_s));
  }
  families->push_back(std::move(expiry));
  MetricFamily handshakes =
      MakeFamily("verdict_http_tls_handshakes_total",
                 "TLS handshakes of HTTP connections, by result", MetricType::Counter);
  AddMetric(&handshakes, {{"result", "success"}}, static_cast<double>(server.handshakes_succeeded));
  AddMetric(&handshakes, {{"result", "failure"}}, static_cast<double>(server.handshakes_failed));
  families->push_back(std::move(handshakes));
}

void AddRouteFamilies(const std::vector<RouteSample>& routes, std::vector<MetricFamily>* families) {
  if (routes.empty()) return;
  MetricFamily steps = MakeFamily(
      "verdict_route_steps_total",
      "What became of a route's requests at each of its rungs: answered, or why the next one was "
      "tried",
      MetricType::Counter);
  MetricFamily left = MakeFamily("verdict_route_rungs_left",
                                 "Rungs of the route that could answer now, the last resort too",
                                 MetricType::Gauge);
  MetricFamily state =
      MakeFamily("verdict_breaker_state", "Of a route's rung: 0 closed, 1 half open, 2 open",
                 MetricType::Gauge);
  MetricFamily opened =
      MakeFamily("verdict_breaker_opened_total", "How often a rung of the route was shut off",
                 MetricType::Counter);
  for (const RouteSample& route : routes) {
    int can_answer = route.last_resort_answers_now ? 1 : 0;
    for (size_t i = 0; i < route.rungs.size(); ++i) {
      const RouteSample::Rung& rung = route.rungs[i];
      const Labels labels = {
          {"route", route.route}, {"rung", std::to_string(i)}, {"model", rung.model}};
      can_answer += rung.can_answer ? 1 : 0;
      AddMetric(&state, labels, rung.breaker);
      AddMetric(&opened, labels, static_cast<double>(rung.opened));
      for (const auto& [outcome, count] : rung.outcomes) {
        Labels with = labels;
        with.push_back({"outcome", std::string(outcome)});
        AddMetric(&steps, std::move(with), static_cast<double>(count));
      }
    }
    if (route.has_last_resort) {
      AddMetric(&steps,
                {{"route", route.route},
                 {"rung", std::to_string(route.rungs.size())},
                 {"model", ""},
                 {"outcome", "answered"}},
                static_cast<double>(route.last_resort_answers));
    }
    AddMetric(&left, {{"route", route.route}}, can_answer);
  }
  for (MetricFamily* family : {&steps, &left, &state, &opened}) {
    families->push_back(std::move(*family));
  }
}

void AddHttpFamilies(const std::vector<HttpMetrics>& workers, uint64_t refused,
                     std::vector<MetricFamily>* families) {
  uint64_t opened = 0;
  uint64_t closed = 0;
  std::map<size_t, uint64_t> responses{{200, 0}};  // 200 from the start: rate() needs a zero
  for (const HttpMetrics& worker : workers) {
    closed += worker.connections_closed.value();  // before `opened`: never fewer opened than closed
    opened += worker.connections_opened.value();
    for (size_t code = 0; code < worker.responses.size(); ++code) {
      if (const uint64_t count = worker.responses[code].value()) responses[code] += count;
    }
  }
  families->push_back(Single("verdict_http_connections", "Open HTTP connections", MetricType::Gauge,
                             static_cast<double>(opened - closed)));
  families->push_back(Single("verdict_http_connections_total", "HTTP connections accepted",
                             MetricType::Counter, static_cast<double>(opened)));
  families->push_back(Single("verdict_http_connections_refused_total",
                             "HTTP connections refused because there were too many",
                             MetricType::Counter, static_cast<double>(refused)));
  MetricFamily by_code = MakeFamily("verdict_http_responses_total", "HTTP responses by status code",
                                    MetricType::Counter);
  for (const auto& [code, count] : responses) {
    AddMetric(&by_code, {{"code", std::to_string(code)}}, static_cast<double>(count));
  }
  families->push_back(std::move(by_code));
}

void AddGrpcFamilies(const std::vector<GrpcMetrics>& workers, std::vector<MetricFamily>* families) {
  MetricFamily by_code = MakeFamily("verdict_grpc_responses_total",
                                    "gRPC calls that ended, by status code", MetricType::Counter);
  for (size_t code = 0; code < GrpcMetrics{}.responses.size(); ++code) {
    uint64_t count = 0;
    for (const GrpcMetrics& worker : workers) count += worker.responses[code].value();
    if (count == 0 && code != 0) continue;  // OK always, so that the family is there
    const auto name = StatusCodeName(static_cast<StatusCode>(code));
    AddMetric(&by_code, {{"code", std::string(name)}}, static_cast<double>(count));
  }
  families->push_back(std::move(by_code));
}

}  // namespace

Metrics::Metrics(int workers)
    : http_(static_cast<size_t>(workers)), grpc_(static_cast<size_t>(workers)) {}

std::shared_ptr<ModelMetrics> Metrics::Model(const std::string& model, const std::string& version) {
  std::lock_guard lock(mutex_);
  auto& metrics = models_[{model, version}];
  if (metrics == nullptr) metrics = std::make_shared<ModelMetrics>(model, version, workers());
  return metrics;
}

void Metrics::CountLoad(const std::string& model, bool ok) {
  std::lock_guard lock(mutex_);
  LoadCounts& counts = loads_[model];
  ++(ok ? counts.success : counts.failure);
}

void Metrics::Retire(const std::string& model, const std::string& version) {
  std::lock_guard lock(mutex_);
  models_.erase({model, version});
}

void Metrics::RetireModel(const std::string& model) {
  std::lock_guard lock(mutex_);
  loads_.erase(model);
}

void Metrics::AddReloads(const std::string& files) {
  std::lock_guard lock(mutex_);
  reloads_[files].last_success_s = UnixTime();
}

void Metrics::CountReload(const std::string& files, bool ok) {
  std::lock_guard lock(mutex_);
  ReloadCounts& counts = reloads_[files];
  ++(ok ? counts.success : counts.failure);
  if (ok) counts.last_success_s = UnixTime();
}

std::string Metrics::Text(const ServerSample& server) const {
  std::vector<ModelSample> samples;
  MetricFamily loads =
      MakeFamily("verdict_model_loads_total", "Attempts to load a version of the model, by result",
                 MetricType::Counter);
  MetricFamily reloads =
      MakeFamily("verdict_reloads_total",
                 "Attempts to read files again while the server runs, by what they hold and result",
                 MetricType::Counter);
  MetricFamily reloaded =
      MakeFamily("verdict_reload_last_success_timestamp_seconds",
                 "When they were read last without an error, as Unix time", MetricType::Gauge);
  {
    std::lock_guard lock(mutex_);
    for (const auto& [files, counts] : reloads_) {
      AddMetric(&reloads, {{"files", files}, {"result", "success"}},
                static_cast<double>(counts.success));
      AddMetric(&reloads, {{"files", files}, {"result", "failure"}},
                static_cast<double>(counts.failure));
      AddMetric(&reloaded, {{"files", files}}, static_cast<double>(counts.last_success_s));
    }
    for (const auto& [model, counts] : loads_) {
      AddMetric(&loads, {{"model", model}, {"result", "success"}},
                static_cast<double>(counts.success));
      AddMetric(&loads, {{"model", model}, {"result", "failure"}},
                static_cast<double>(counts.failure));
    }
    for (const auto& [key, model] : models_) {
      samples.push_back({{{"model", key.first}, {"version", key.second}},
                         model->Sum(),
                         model->ready(),
                         model->load_seconds()});
    }
  }
  std::vector<MetricFamily> families;
  AddModelFamilies(samples, &families);
  families.push_back(std::move(loads));
  AddHttpFamilies(http_, refused_.load(std::memory_order_relaxed), &families);
  families.push_back(Single("verdict_trace_spans_exported_total",
                            "Spans that the trace collector took", MetricType::Counter,
                            static_cast<double>(trace_.exported.load(std::memory_order_relaxed))));
  families.push_back(Single("verdict_trace_spans_dropped_total",
                            "Spans that were lost: no room, or the trace collector did not take "
                            "them",
                            MetricType::Counter,
                            static_cast<double>(trace_.dropped.load(std::memory_order_relaxed))));
  AddGrpcFamilies(grpc_, &families);
  families.push_back(std::move(reloads));
  families.push_back(std::move(reloaded));
  AddServerFamilies(server, &families);
  AddRouteFamilies(server.routes, &families);
  if (server.device.has_value()) AddDeviceFamilies(*server.device, &families);
  AddGpuFamilies(server.gpus, &families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace verdict
