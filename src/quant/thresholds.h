#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// How a tensor's clipping threshold is found.
enum class Observer {
  kAuto,
  kEntropy,
  kMinMax,
  kMse,
  kPercentile999,
  kPercentile9999,
  kPercentile99999,
};

/// "entropy", "minmax", "mse", "percentile-99.9", …: as `--observer` takes it.
std::string_view ObserverName(Observer observer);
/// Errors: kInvalidArgument, listing the names.
Result<Observer> ParseObserver(std::string_view name);

// Each takes a histogram as of AbsHistogram and the largest |x|, finite and > 0, and returns the
// |x| beyond which int8 clips, in (0, amax]. Errors: kInvalidArgument where all counts are 0.
// Threads: pure.

/// The threshold whose clipped distribution the 128 levels of int8 lose least of, by KL divergence.
/// The first bin counts as the second does: it holds the zeros of a ReLU, which every threshold
/// keeps, and which otherwise decide alone (three quarters of the other values would be clipped).
/// Cost: O(bins^2), some milliseconds.
/// Source: Migacz, "8-bit Inference with TensorRT", GTC 2017; the first bin: NVIDIA's
/// pytorch-quantization.
Result<float> EntropyThreshold(std::span<const uint64_t> histogram, float amax);

/// The threshold below which that share of the values is. percent: in (0, 100].
Result<float> PercentileThreshold(std::span<const uint64_t> histogram, float amax, double percent);

/// The threshold with least squared error of rounding and clipping, taking each value for its bin's
/// middle. Cost: as EntropyThreshold.
Result<float> MseThreshold(std::span<const uint64_t> histogram, float amax);

/// By the observer; kAuto is none: it has to be told from the outputs.
Result<float> Threshold(Observer observer, std::span<const uint64_t> histogram, float amax);

}  // namespace verdict
