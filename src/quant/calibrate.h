#pragma once

#include <span>

#include "quant/graph_runner.h"
#include "quant/insert_quantization.h"
#include "quant/sample_source.h"
#include "quant/thresholds.h"

namespace verdict {

struct CalibrationOptions {
  Observer observer = Observer::kAuto;
  int64_t rows_at_once = 1;
  int64_t min_rows = 16;  // fewer samples are an error
};

struct CalibrationResult {
  TensorRanges ranges;
  /// By tensor: the observer whose threshold it has.
  std::map<std::string, Observer, std::less<>> observers;
  int64_t rows = 0;
};

/// Runs the graph over all samples, twice: first for the largest value and the mean of each tensor
/// that a layer reads, then for its histogram. With Observer::kAuto each tensor gets the threshold
/// that disturbs the outputs of the layers reading it least, on up to 256 of its rows.
/// Memory: 16 KiB of counts a tensor, and those rows.
/// Errors: as the source and the runner; kInvalidArgument: too few samples, a tensor with NaN or an
/// infinity, naming it and the first sample, or one that is the same number in all of them.
Result<CalibrationResult> Calibrate(const Graph& graph, std::span<const QuantizableLayer> layers,
                                    SampleSource& source, const MakeGraphRunner& make_runner,
                                    const CalibrationOptions& options);

}  // namespace verdict
