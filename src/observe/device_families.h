#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "observe/model_metrics.h"

namespace verdict {

/// The device that models are served on, as it stands at the scrape.
struct DeviceSample {
  std::string backend;
  std::string_view state;  // one of kDeviceStates
  uint64_t faults = 0;
  uint64_t recoveries = 0;
  uint64_t evictions = 0;
  uint64_t rebuilds = 0;
  uint64_t memory_limit_bytes = 0;
  uint64_t memory_shared_bytes = 0;
  struct Model {
    std::string model;
    std::string version;
    std::string_view state;  // one of kDeviceModelStates
    uint64_t memory_bytes = 0;
    DeviceUses requests{};   // that succeeded
    uint64_t late_runs = 0;  // took so long that no thread waited for them any longer
  };
  /// Those whose engines have a plan for a device, or that are asked to be there.
  std::vector<Model> models;
};

inline constexpr std::string_view kDeviceStates[] = {"healthy", "lost", "recovering",
                                                     "unavailable"};
inline constexpr std::string_view kDeviceModelStates[] = {"attached", "building", "refused",
                                                          "evicted",  "lost",     "none"};

/// Adds the metrics of the device to a scrape.
void AddDeviceFamilies(const DeviceSample& device, std::vector<prometheus::MetricFamily>* families);

}  // namespace verdict
