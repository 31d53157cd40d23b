#include <sys/utsname.h>

#include <array>

#include "base/cpu_count.h"
#include "base/json_writer.h"
#include "base/processor.h"
#include "tools/load/report.h"

namespace verdict::load {
namespace {

double Us(int64_t ns) { return static_cast<double>(ns) / 1e3; }

void WriteHistogram(JsonWriter& json, const char* key, const Histogram& histogram) {
  constexpr std::array<std::pair<const char*, double>, 7> kPercentiles = {{{"p50", 50},
                                                                           {"p90", 90},
                                                                           {"p95", 95},
                                                                           {"p99", 99},
                                                                           {"p99.9", 99.9},
                                                                           {"p99.99", 99.99},
                                                                           {"max", 100}}};
  json.Key(key).BeginObject().Key("count").UInt(histogram.count());
  json.Key("min").Number(Us(histogram.min_ns()));
  json.Key("mean").Number(histogram.mean_ns() / 1e3);
  json.Key("standard_deviation").Number(histogram.deviation_ns() / 1e3);
  for (const auto& [name, percentile] : kPercentiles) {
    json.Key(name).Number(Us(histogram.Percentile(percentile)));
  }
  // Each bucket: least value, greatest value, count.
  json.Key("buckets").BeginArray();
  for (const Histogram::Bucket& bucket : histogram.Buckets()) {
    json.BeginArray().Number(Us(bucket.low_ns)).Number(Us(bucket.high_ns));
    json.UInt(bucket.count).EndArray();
  }
  json.EndArray().EndObject();
}

void WriteMachine(JsonWriter& json) {
  json.Key("machine").BeginObject().Key("processor").String(ProcessorName());
  json.Key("cpus").Int(AvailableCpus());
  utsname name{};
  if (::uname(&name) == 0) {
    json.Key("system").String(std::string(name.sysname) + " " + name.release);
    json.Key("architecture").String(name.machine);
  }
  json.EndObject();
}

void WriteCpu(JsonWriter& json, const char* key, const ProcessUsage& usage, uint64_t answers) {
  const double scale = answers == 0 ? 0 : 1e6 / static_cast<double>(answers);
  json.Key(key).BeginObject();
  json.Key("user_s").Number(usage.user_s).Key("kernel_s").Number(usage.kernel_s);
  json.Key("user_us_per_request").Number(usage.user_s * scale);
  json.Key("kernel_us_per_request").Number(usage.kernel_s * scale);
  json.Key("resident_bytes").Int(usage.resident_bytes).EndObject();
}

}  // namespace

std::string ReportJson(const RunDescription& description, const RunOptions& options,
                       const RunResult& result) {
  const Measurement& total = result.total;
  JsonWriter json;
  json.BeginObject().Key("verdict").String(VERDICT_VERSION);
  WriteMachine(json);
  json.Key("target").String(description.target).Key("inputs").String(description.inputs);
  json.Key("load").String(LoadText(options));
  json.Key("connections").Int(options.worker.connections).Key("threads").Int(options.threads);
  json.Key("flags").BeginObject();
  for (const auto& [name, value] : description.flags) json.Key(name).String(value);
  json.EndObject();
  json.Key("warmup_s").Number(static_cast<double>(options.warmup_ns) / 1e9);
  json.Key("measured_s").Number(result.wall_s);
  json.Key("requests").UInt(total.requests());
  json.Key("answers").BeginObject();
  for (const auto& [ending, count] : total.endings) {
    json.Key(EndingName(options.protocol, ending)).UInt(count);
  }
  json.EndObject();
  json.Key("throughput_per_s").Number(Throughput(result, options.protocol));
  if (options.deadline_ns > 0) {
    json.Key("deadline_us").Number(Us(options.deadline_ns));
    json.Key("goodput_per_s").Number(Goodput(result));
    json.Key("in_time").UInt(total.in_time);
    const auto dropped = total.endings.find(kDropped);
    json.Key("dropped").UInt(dropped == total.endings.end() ? 0 : dropped->second);
  }
  WriteHistogram(json, "latency_us", total.latency);
  WriteHistogram(json, "service_us", total.service);
  WriteHistogram(json, "rejection_us", total.rejected);
  WriteHistogram(json, "send_lag_us", total.lag);
  json.Key("waited_for_connection").UInt(total.queued).Key("reconnects").UInt(total.reconnects);
  json.Key("response_bytes").UInt(total.response_bytes);
  json.Key("cpu").BeginObject().Key("wall_s").Number(result.cpu.wall_s);
  json.Key("answers").UInt(result.cpu.answers);
  WriteCpu(json, "generator", result.cpu.self, result.cpu.answers);
  if (result.cpu.server) {
    WriteCpu(json, "server", *result.cpu.server, result.cpu.answers);
    json.Key("server_resident_bytes_before").Int(result.cpu.server_resident_before);
  }
  json.EndObject();
  json.Key("seconds").BeginArray();
  for (const Second& second : result.seconds) {
    json.BeginObject().Key("end_s").Number(static_cast<double>(second.end_ns) / 1e9);
    json.Key("succeeded_per_s").Number(second.succeeded_per_s);
    json.Key("failed_per_s").Number(second.failed_per_s);
    json.Key("p50_us").Number(Us(second.p50_ns)).Key("p99_us").Number(Us(second.p99_ns));
    json.Key("in_flight").Int(second.in_flight).EndObject();
  }
  json.EndArray();
  json.Key("warnings").BeginArray();
  for (const std::string& warning : Warnings(options, result)) json.String(warning);
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace verdict::load
