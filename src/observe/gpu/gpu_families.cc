#include "observe/gpu/gpu_families.h"

#include <utility>

#include "observe/metric_family.h"

namespace verdict {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

template <auto kMember>
std::optional<double> Value(const GpuSample& gpu) {
  if (!(gpu.*kMember)) return std::nullopt;
  return static_cast<double>(*(gpu.*kMember));
}

struct GpuMetric {
  const char* name;
  const char* help;
  MetricType type;
  /// A second label and its value; null: none.
  const char* label;
  const char* label_value;
  std::optional<double> (*value)(const GpuSample&);
};

// Those of Triton by its names, labels and units. Neighbours of one name are one family.
constexpr GpuMetric kGpuMetrics[] = {
    {"nv_gpu_utilization", "Share of time in which the GPU was busy, 0 to 1", MetricType::Gauge,
     nullptr, nullptr, Value<&GpuSample::utilization>},
    {"nv_gpu_memory_total_bytes", "Memory of the GPU, in bytes", MetricType::Gauge, nullptr,
     nullptr, Value<&GpuSample::memory_total_bytes>},
    {"nv_gpu_memory_used_bytes", "Memory of the GPU that is in use, in bytes", MetricType::Gauge,
     nullptr, nullptr, Value<&GpuSample::memory_used_bytes>},
    {"nv_gpu_power_usage", "Power that the GPU draws, in watts", MetricType::Gauge, nullptr,
     nullptr, Value<&GpuSample::power_watts>},
    {"nv_gpu_power_limit", "Power that the GPU may draw, in watts", MetricType::Gauge, nullptr,
     nullptr, Value<&GpuSample::power_limit_watts>},
    {"nv_energy_consumption", "Energy that the GPU took since the server's start, in joules",
     MetricType::Counter, nullptr, nullptr, Value<&GpuSample::energy_joules>},
    {"verdict_gpu_temperature_celsius", "Temperature of the GPU", MetricType::Gauge, nullptr,
     nullptr, Value<&GpuSample::temperature_celsius>},
    {"verdict_gpu_clock_hertz", "Clocks of the GPU, in hertz", MetricType::Gauge, "clock", "sm",
     Value<&GpuSample::sm_clock_hertz>},
    {"verdict_gpu_clock_hertz", "", MetricType::Gauge, "clock", "memory",
     Value<&GpuSample::memory_clock_hertz>},
    {"verdict_gpu_ecc_errors_total",
     "Memory errors that the GPU found since its driver was loaded, corrected or not",
     MetricType::Counter, "kind", "corrected", Value<&GpuSample::corrected_ecc_errors>},
    {"verdict_gpu_ecc_errors_total", "", MetricType::Counter, "kind", "uncorrected",
     Value<&GpuSample::uncorrected_ecc_errors>},
};

}  // namespace

void AddGpuFamilies(std::span<const GpuSample> gpus, std::vector<MetricFamily>* families) {
  MetricFamily family;
  const auto finish = [&] {
    if (!family.metric.empty()) families->push_back(std::move(family));
  };
  for (const GpuMetric& metric : kGpuMetrics) {
    if (family.name != metric.name) {
      finish();
      family = MakeFamily(metric.name, metric.help, metric.type);
    }
    for (const GpuSample& gpu : gpus) {
      const std::optional<double> value = metric.value(gpu);
      if (!value) continue;
      MetricLabels labels = {{"gpu_uuid", gpu.uuid}};
      if (metric.label != nullptr) labels.push_back({metric.label, metric.label_value});
      AddMetric(&family, std::move(labels), *value);
    }
  }
  finish();
  family = MakeFamily("verdict_gpu_throttled",
                      "1 while the GPU's clocks are held down for this reason, else 0",
                      MetricType::Gauge);
  for (const GpuSample& gpu : gpus) {
    if (!gpu.throttle_reasons) continue;
    for (const ThrottleReason& reason : kThrottleReasons) {
      AddMetric(&family, {{"gpu_uuid", gpu.uuid}, {"reason", reason.name}},
                (*gpu.throttle_reasons & reason.bit) != 0 ? 1 : 0);
    }
  }
  finish();
}

}  // namespace verdict
