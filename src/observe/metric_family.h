#pragma once

#include <prometheus/metric_family.h>

#include <utility>
#include <vector>

namespace verdict {

// What makes a scrape: families of prometheus-cpp's, filled by hand since all values are counted
// elsewhere.

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

inline prometheus::MetricFamily MakeFamily(const char* name, const char* help,
                                           prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

inline void AddMetric(prometheus::MetricFamily* family, MetricLabels labels, double value) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  (family->type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) =
      value;
  family->metric.push_back(std::move(metric));
}

}  // namespace verdict
