#include "tools/load/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "base/xml_text.h"

namespace verdict::load {
namespace {

// In the image's own unit.
constexpr double kWidth = 960;
constexpr double kHeight = 560;
constexpr double kLeft = 84;
constexpr double kRight = 36;
constexpr double kTop = 150;
constexpr double kBottom = 64;

constexpr std::array<const char*, 4> kColours = {"#1f5fbf", "#e07b1a", "#3a8f4d", "#8a4fb0"};

template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::array<char, 512> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, args...);
  return buffer.data();
}

/// x is nines: log10(1 / (1 - percentile)); y is log10 of nanoseconds.
struct Axes {
  double max_nines = 2;
  double low = 3;
  double high = 6;

  double X(double nines) const {
    return kLeft + std::min(nines, max_nines) / max_nines * (kWidth - kLeft - kRight);
  }
  double Y(double ns) const {
    const double share = (std::log10(std::max(ns, 1.0)) - low) / (high - low);
    return kHeight - kBottom - std::clamp(share, 0.0, 1.0) * (kHeight - kTop - kBottom);
  }
};

/// 1, 2 or 5 times a power of ten, at most (up: at least) `value`.
double RoundTick(double value, bool up) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  constexpr std::array kSteps = {1.0, 2.0, 5.0, 10.0};
  double best = up ? 10 * power : power;
  for (const double step : kSteps) {
    if (up && step * power >= value * (1 - 1e-9)) return step * power;
    if (!up && step * power <= value * (1 + 1e-9)) best = step * power;
  }
  return best;
}

Axes ChooseAxes(const PercentilePlot& plot) {
  Axes axes;
  double low = 1e18;
  double high = 0;
  uint64_t count = 1;
  for (const PercentilePlot::Curve& curve : plot.curves) {
    if (curve.histogram->count() == 0) continue;
    low = std::min(low, static_cast<double>(curve.histogram->min_ns()));
    high = std::max(high, static_cast<double>(curve.histogram->max_ns()));
    count = std::max(count, curve.histogram->count());
  }
  if (high == 0) return axes;
  // A deadline far above all latencies would leave them no room.
  const auto deadline = static_cast<double>(plot.deadline_ns);
  if (deadline > 0 && deadline < 10 * high) high = std::max(high, deadline * 1.05);
  axes.low = std::log10(RoundTick(std::max(low, 100.0), false));
  axes.high = std::log10(RoundTick(std::max(high * 1.02, 200.0), true));
  axes.max_nines = std::clamp(std::log10(static_cast<double>(count)), 2.0, 9.0);
  return axes;
}

std::string Text(double x, double y, const char* anchor, const char* style, std::string_view text) {
  return Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
                style) +
         XmlText(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, const char* style) {
  return Format("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
                x2, y2, style);
}

/// "99.9%" for three nines.
std::string PercentText(int nines) {
  if (nines <= 2) return nines == 0 ? "0%" : nines == 1 ? "90%" : "99%";
  return "99." + std::string(static_cast<size_t>(nines) - 2, '9') + "%";
}

std::string Grid(const Axes& axes) {
  std::string svg;
  const double bottom = kHeight - kBottom;
  const int decades = static_cast<int>(std::ceil(axes.high - axes.low));
  const bool all_steps = decades <= 3;
  for (int power = static_cast<int>(std::floor(axes.low)); power <= axes.high; ++power) {
    for (const int step : {1, 2, 5}) {
      if (step != 1 && !all_steps) continue;
      const double ns = step * std::pow(10, power);
      if (std::log10(ns) < axes.low - 1e-9 || std::log10(ns) > axes.high + 1e-9) continue;
      svg += Line(kLeft, axes.Y(ns), kWidth - kRight, axes.Y(ns), "grid");
      std::string label = DurationText(std::llround(ns));
      // "1.00 ms" reads "1 ms" on an axis.
      if (const size_t dot = label.find('.'); dot != std::string::npos) {
        label.erase(dot, label.find(' ') - dot);
      }
      svg += Text(kLeft - 10, axes.Y(ns) + 4, "end", "tick", label);
    }
  }
  const auto tick = [&](double nines, const std::string& label) {
    svg += Line(axes.X(nines), kTop, axes.X(nines), bottom, "grid");
    svg += Text(axes.X(nines), bottom + 20, "middle", "tick", label);
  };
  tick(std::log10(2), "50%");
  for (int nines = 0; nines <= axes.max_nines; ++nines) tick(nines, PercentText(nines));
  svg += Line(kLeft, bottom, kWidth - kRight, bottom, "axis");
  svg += Text((kLeft + kWidth - kRight) / 2, kHeight - 18, "middle", "label",
              "percentile: that share of the requests took at most so long");
  return svg;
}

std::string CurvePath(const Axes& axes, const Histogram& histogram, const char* colour,
                      bool first) {
  const auto total = static_cast<double>(histogram.count());
  std::string path =
      Format("M%.1f %.1f", axes.X(0), axes.Y(static_cast<double>(histogram.min_ns())));
  double below = 0;
  double last_x = 0;
  for (const Histogram::Bucket& bucket : histogram.Buckets()) {
    below += static_cast<double>(bucket.count);
    const double left = total - below;
    const double nines = left < 0.5 ? std::log10(total) : std::log10(total / left);
    const double x = axes.X(nines);
    const bool last = left < 0.5;
    if (x - last_x < 0.5 && !last) continue;  // less than a pixel further
    last_x = x;
    const double ns = std::min<double>(static_cast<double>(bucket.high_ns),
                                       static_cast<double>(histogram.max_ns()));
    path += Format("L%.1f %.1f", x, axes.Y(ns));
  }
  return "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + colour +
         "\" stroke-linejoin=\"round\" stroke-width=\"" +
         (first ? "2.5\"/>\n" : "2\" stroke-dasharray=\"6 4\"/>\n");
}

std::string Figures(const PercentilePlot& plot) {
  std::string svg;
  const double step = (kWidth - kLeft - kRight) / static_cast<double>(plot.figures.size());
  for (size_t i = 0; i < plot.figures.size(); ++i) {
    const double x = kLeft + step * static_cast<double>(i);
    svg += Text(x, 88, "start", "name", plot.figures[i].first);
    svg += Text(x, 110, "start", "figure", plot.figures[i].second);
  }
  return svg;
}

std::string Legend(const PercentilePlot& plot) {
  std::string svg =
      Format("<rect x=\"%.1f\" y=\"%.1f\" width=\"330\" height=\"%.1f\" fill=\"#ffffff\"/>\n",
             kLeft + 6, kTop + 6, 20.0 * static_cast<double>(plot.curves.size()) + 8);
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    const double y = kTop + 22 + 20 * static_cast<double>(i);
    svg += Format(
        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
        "stroke-width=\"2.5\"%s/>\n",
        kLeft + 16, y, kLeft + 44, y, kColours[i % kColours.size()],
        i == 0 ? "" : " stroke-dasharray=\"6 4\"");
    svg += Text(kLeft + 52, y + 4, "start", "legend", plot.curves[i].name);
  }
  return svg;
}

constexpr std::string_view kStyle = R"(<style>
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #23303d }
.title { font-size: 20px; font-weight: 600 }
.subtitle { font-size: 13px; fill: #5b6875 }
.name { font-size: 12px; fill: #5b6875 }
.figure { font-size: 17px; font-weight: 600 }
.tick, .label { font-size: 12px; fill: #5b6875 }
.legend { font-size: 13px }
.deadline-text { font-size: 12px; fill: #b3261e }
.grid { stroke: #e4e8ec; stroke-width: 1 }
.axis { stroke: #9aa5b0; stroke-width: 1 }
.deadline { stroke: #b3261e; stroke-width: 1.5; stroke-dasharray: 2 3 }
</style>
)";

}  // namespace

std::string DurationText(int64_t ns) {
  const auto value = static_cast<double>(ns);
  // The next unit begins where three digits of the one before would round to 1000.
  if (value < 999.5) return Format("%.0f ns", value);
  const auto with_unit = [](double scaled, const char* unit) {
    const int decimals = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
    return Format("%.*f %s", decimals, scaled, unit);
  };
  if (value < 999.5e3) return with_unit(value / 1e3, "us");
  if (value < 999.5e6) return with_unit(value / 1e6, "ms");
  return with_unit(value / 1e9, "s");
}

std::string PlotSvg(const PercentilePlot& plot) {
  const Axes axes = ChooseAxes(plot);
  std::string svg = Format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
      "height=\"%.0f\" role=\"img\">\n",
      kWidth, kHeight, kWidth, kHeight);
  svg += "<title>" + XmlText(plot.title) + "</title>\n";
  svg += kStyle;
  svg += Format("<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n", kWidth, kHeight);
  svg += Text(kLeft, 36, "start", "title", plot.title);
  svg += Text(kLeft, 58, "start", "subtitle", plot.subtitle);
  svg += Figures(plot);
  svg += Grid(axes);
  const double deadline_y = axes.Y(static_cast<double>(plot.deadline_ns));
  if (plot.deadline_ns > 0 && std::log10(static_cast<double>(plot.deadline_ns)) <= axes.high) {
    svg += Line(kLeft, deadline_y, kWidth - kRight, deadline_y, "deadline");
    svg += Text(kWidth - kRight - 8, deadline_y - 6, "end", "deadline-text",
                "deadline " + DurationText(plot.deadline_ns));
  }
  for (size_t i = plot.curves.size(); i-- > 0;) {  // the first is drawn over the others
    if (plot.curves[i].histogram->count() == 0) continue;
    svg += CurvePath(axes, *plot.curves[i].histogram, kColours[i % kColours.size()], i == 0);
  }
  return svg + Legend(plot) + "</svg>\n";
}

std::string PlotHtml(const PercentilePlot& plot) {
  return "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>" +
         XmlText(plot.title) +
         "</title>\n<style>body { margin: 2rem auto; max-width: 60rem } svg { width: 100%; height: "
         "auto }</style></head>\n<body>\n" +
         PlotSvg(plot) + "</body>\n</html>\n";
}

}  // namespace verdict::load
