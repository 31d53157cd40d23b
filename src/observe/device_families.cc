#include "observe/device_families.h"

#include <utility>

#include "observe/metric_family.h"

namespace verdict {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

struct DeviceMetric {
  const char* name;
  const char* help;
  MetricType type;
  uint64_t DeviceSample::*value;
};

constexpr DeviceMetric kDeviceMetrics[] = {
    {"verdict_device_faults_total", "Times that the device was lost", MetricType::Counter,
     &DeviceSample::faults},
    {"verdict_device_recoveries_total", "Times that a lost device came back", MetricType::Counter,
     &DeviceSample::recoveries},
    {"verdict_device_evictions_total", "Models taken off the device to make room for others",
     MetricType::Counter, &DeviceSample::evictions},
    {"verdict_device_rebuilds_total", "Plans that were built for this device while serving",
     MetricType::Counter, &DeviceSample::rebuilds},
    {"verdict_device_memory_limit_bytes", "Memory of the device that models may take, in bytes",
     MetricType::Gauge, &DeviceSample::memory_limit_bytes},
    {"verdict_device_memory_shared_bytes",
     "Memory of the device that its models share, and that is no model's own, in bytes",
     MetricType::Gauge, &DeviceSample::memory_shared_bytes},
};

constexpr std::pair<DeviceUse, const char*> kFallbacks[] = {
    {DeviceUse::kNotThere, "not_there"},
    {DeviceUse::kDeclined, "declined"},
    {DeviceUse::kBusy, "busy"},
    {DeviceUse::kFailed, "failed"},
};

}  // namespace

void AddDeviceFamilies(const DeviceSample& device, std::vector<MetricFamily>* families) {
  MetricFamily states =
      MakeFamily("verdict_device_state", "1 for what the device is, else 0", MetricType::Gauge);
  for (const std::string_view state : kDeviceStates) {
    AddMetric(&states, {{"state", std::string(state)}}, state == device.state ? 1 : 0);
  }
  families->push_back(std::move(states));
  for (const DeviceMetric& metric : kDeviceMetrics) {
    MetricFamily family = MakeFamily(metric.name, metric.help, metric.type);
    AddMetric(&family, {}, static_cast<double>(device.*metric.value));
    families->push_back(std::move(family));
  }
  MetricFamily memory =
      MakeFamily("verdict_device_memory_bytes",
                 "Memory of the device that the model takes, in bytes", MetricType::Gauge);
  MetricFamily standings =
      MakeFamily("verdict_device_model_state",
                 "1 for where the model stands with the device, else 0", MetricType::Gauge);
  MetricFamily served =
      MakeFamily("verdict_requests_served_total",
                 "Inference requests that succeeded, by who answered", MetricType::Counter);
  MetricFamily fallbacks = MakeFamily("verdict_device_fallbacks_total",
                                      "Of those that the CPU answered, why", MetricType::Counter);
  MetricFamily late =
      MakeFamily("verdict_device_late_runs_total",
                 "Runs on the device that took many times what they should", MetricType::Counter);
  for (const DeviceSample::Model& model : device.models) {
    const MetricLabels labels = {{"model", model.model}, {"version", model.version}};
    AddMetric(&memory, labels, static_cast<double>(model.memory_bytes));
    for (const std::string_view state : kDeviceModelStates) {
      MetricLabels with_state = labels;
      with_state.push_back({"state", std::string(state)});
      AddMetric(&standings, std::move(with_state), state == model.state ? 1 : 0);
    }
    const auto add_served = [&](const std::string& by, uint64_t requests) {
      MetricLabels with_by = labels;
      with_by.push_back({"served_by", by});
      AddMetric(&served, std::move(with_by), static_cast<double>(requests));
    };
    const auto requests = [&](DeviceUse use) { return model.requests[static_cast<size_t>(use)]; };
    add_served(device.backend, requests(DeviceUse::kAnswered));
    uint64_t on_cpu = 0;
    for (const auto& [use, reason] : kFallbacks) {
      MetricLabels with_reason = labels;
      with_reason.push_back({"reason", reason});
      AddMetric(&fallbacks, std::move(with_reason), static_cast<double>(requests(use)));
      on_cpu += requests(use);
    }
    add_served("cpu", on_cpu);
    AddMetric(&late, labels, static_cast<double>(model.late_runs));
  }
  families->push_back(std::move(memory));
  families->push_back(std::move(standings));
  families->push_back(std::move(served));
  families->push_back(std::move(fallbacks));
  families->push_back(std::move(late));
}

}  // namespace verdict
