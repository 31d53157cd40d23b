#include "quant/thresholds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace verdict {
namespace {

/// Levels of an int8's size.
constexpr int kLevels = 128;

constexpr std::array<std::pair<Observer, std::string_view>, 7> kNames = {{
    {Observer::kAuto, "auto"},
    {Observer::kEntropy, "entropy"},
    {Observer::kMinMax, "minmax"},
    {Observer::kMse, "mse"},
    {Observer::kPercentile999, "percentile-99.9"},
    {Observer::kPercentile9999, "percentile-99.99"},
    {Observer::kPercentile99999, "percentile-99.999"},
}};

Result<uint64_t> Total(std::span<const uint64_t> histogram, float amax) {
  if (!std::isfinite(amax) || amax <= 0) {
    return InvalidArgument("the largest value, " + std::to_string(amax) +
                           ", is not a finite number above 0");
  }
  const uint64_t total = std::reduce(histogram.begin(), histogram.end(), uint64_t{0});
  if (total == 0) return InvalidArgument("the histogram is empty");
  return total;
}

/// KL(P || Q) where P are the first `bins` bins, with what lies beyond them in the last, and Q is
/// what kLevels levels keep of the bins without that: each level's count, spread over its bins that
/// are not empty in P. inside: count of the first `bins` bins. expanded: scratch, [bins].
double Divergence(std::span<const uint64_t> histogram, size_t bins, uint64_t total, uint64_t inside,
                  std::vector<double>& expanded) {
  if (inside == 0) return std::numeric_limits<double>::infinity();
  const uint64_t outliers = total - inside;
  const auto in_p = [&](size_t bin) { return histogram[bin] + (bin + 1 == bins ? outliers : 0); };
  for (size_t level = 0; level < kLevels; ++level) {
    const size_t begin = level * bins / kLevels;
    const size_t end = (level + 1) * bins / kLevels;
    uint64_t sum = 0;
    size_t filled = 0;
    for (size_t bin = begin; bin < end; ++bin) {
      sum += histogram[bin];
      filled += in_p(bin) > 0 ? 1 : 0;
    }
    const double each = filled == 0 ? 0.0 : static_cast<double>(sum) / static_cast<double>(filled);
    for (size_t bin = begin; bin < end; ++bin) expanded[bin] = in_p(bin) > 0 ? each : 0.0;
  }
  double divergence = 0;
  for (size_t bin = 0; bin < bins; ++bin) {
    const uint64_t count = in_p(bin);
    if (count == 0) continue;
    // Outliers alone in their level: Q says that they are impossible.
    if (expanded[bin] == 0) return std::numeric_limits<double>::infinity();
    const double p = static_cast<double>(count) / static_cast<double>(total);
    const double q = expanded[bin] / static_cast<double>(inside);
    divergence += p * std::log(p / q);
  }
  return divergence;
}

}  // namespace

std::string_view ObserverName(Observer observer) {
  for (const auto& [value, name] : kNames) {
    if (value == observer) return name;
  }
  return "";
}

Result<Observer> ParseObserver(std::string_view name) {
  std::string known;
  for (const auto& [value, text] : kNames) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return InvalidArgument("there is no observer '" + std::string(name) + "'; the observers are " +
                         known);
}

Result<float> EntropyThreshold(std::span<const uint64_t> counts, float amax) {
  VERDICT_RETURN_IF_ERROR(Total(counts, amax).status());
  std::vector<uint64_t> histogram(counts.begin(), counts.end());
  if (histogram.size() > 1) histogram[0] = histogram[1];
  const uint64_t total = std::reduce(histogram.begin(), histogram.end(), uint64_t{0});
  if (total == 0) return amax;  // nothing but zeros and next to zeros
  std::vector<double> expanded(histogram.size());
  size_t best = histogram.size();
  double least = std::numeric_limits<double>::infinity();
  uint64_t inside = 0;
  for (size_t bins = 1; bins <= histogram.size(); ++bins) {
    inside += histogram[bins - 1];
    if (bins < kLevels) continue;
    const double divergence = Divergence(histogram, bins, total, inside, expanded);
    if (divergence >= least) continue;
    least = divergence;
    best = bins;
  }
  const double width = static_cast<double>(amax) / static_cast<double>(histogram.size());
  return std::min(amax, static_cast<float>((static_cast<double>(best) + 0.5) * width));
}

Result<float> PercentileThreshold(std::span<const uint64_t> histogram, float amax, double percent) {
  VERDICT_ASSIGN_OR_RETURN(const uint64_t total, Total(histogram, amax));
  const double wanted = static_cast<double>(total) * percent / 100;
  const double width = static_cast<double>(amax) / static_cast<double>(histogram.size());
  uint64_t below = 0;
  for (size_t bin = 0; bin < histogram.size(); ++bin) {
    below += histogram[bin];
    if (static_cast<double>(below) >= wanted) {
      return std::min(amax, static_cast<float>(static_cast<double>(bin + 1) * width));
    }
  }
  return amax;
}

Result<float> MseThreshold(std::span<const uint64_t> histogram, float amax) {
  VERDICT_RETURN_IF_ERROR(Total(histogram, amax).status());
  const double width = static_cast<double>(amax) / static_cast<double>(histogram.size());
  size_t best = histogram.size();
  double least = std::numeric_limits<double>::infinity();
  for (size_t bins = 1; bins <= histogram.size(); ++bins) {
    const double scale = static_cast<double>(bins) * width / (kLevels - 1);
    double error = 0;
    for (size_t bin = 0; bin < histogram.size(); ++bin) {
      if (histogram[bin] == 0) continue;
      const double x = (static_cast<double>(bin) + 0.5) * width;
      const double kept = scale * std::min(std::nearbyint(x / scale), double{kLevels - 1});
      error += static_cast<double>(histogram[bin]) * (x - kept) * (x - kept);
    }
    if (error >= least) continue;
    least = error;
    best = bins;
  }
  return static_cast<float>(static_cast<double>(best) * width);
}

Result<float> Threshold(Observer observer, std::span<const uint64_t> histogram, float amax) {
  switch (observer) {
    case Observer::kEntropy:
      return EntropyThreshold(histogram, amax);
    case Observer::kMinMax:
      return amax;
    case Observer::kMse:
      return MseThreshold(histogram, amax);
    case Observer::kPercentile999:
      return PercentileThreshold(histogram, amax, 99.9);
    case Observer::kPercentile9999:
      return PercentileThreshold(histogram, amax, 99.99);
    case Observer::kPercentile99999:
      return PercentileThreshold(histogram, amax, 99.999);
    case Observer::kAuto:
      break;
  }
  return InvalidArgument("observer auto has no threshold of its own");
}

}  // namespace verdict
