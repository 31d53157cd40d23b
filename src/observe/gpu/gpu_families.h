#pragma once

#include <prometheus/metric_family.h>

#include <span>
#include <vector>

#include "observe/gpu/gpu_sample.h"

namespace verdict {

/// Adds the metrics of GPUs to a scrape: only families that at least one of them has a value for.
void AddGpuFamilies(std::span<const GpuSample> gpus,
                    std::vector<prometheus::MetricFamily>* families);

}  // namespace verdict
