#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/load/histogram.h"

namespace verdict::load {

/// A plot of latency over percentile; the rarer the percentile, the further right, so that each
/// nine takes as much room as the one before.
struct PercentilePlot {
  struct Curve {
    std::string name;
    const Histogram* histogram = nullptr;
  };
  std::string title;
  std::string subtitle;
  std::vector<std::pair<std::string, std::string>>
      figures;                // "p99", "1.2 ms": a row above the plot
  std::vector<Curve> curves;  // the first is the one that matters
  int64_t deadline_ns = 0;    // a line across; 0: none
};

/// "850 ns", "12.3 us", "4.56 ms", "1.20 s".
std::string DurationText(int64_t ns);

/// As a self-contained SVG image.
std::string PlotSvg(const PercentilePlot& plot);

/// The same in a self-contained HTML page.
std::string PlotHtml(const PercentilePlot& plot);

}  // namespace verdict::load
