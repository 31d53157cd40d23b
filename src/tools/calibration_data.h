#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "quant/sample_source.h"

namespace verdict {

struct CalibrationDataOptions {
  /// A file of labels, one a sample (.npy, .npz, .csv); empty: they are with the samples, or there
  /// are none.
  std::filesystem::path labels;
  /// The column, key or array of the labels. Empty: "label", if there is one that is no input.
  std::string label_column;
  /// Labels that are with the samples are passed over: others decide.
  bool ignore_labels = false;
  /// Whether floats may be NaN: only for a model that imputes missing values.
  bool allow_nan = false;
};

/// Opens samples for calibrating a model and measuring its accuracy: an .npz, .csv or .jsonl file
/// with the names of the graph's inputs (docs/reference/calibration-data.md). CSV and JSON lines
/// are read as they are asked for, an .npz file is held in memory. Labels, where there are any, are
/// all checked here, for which the file is read once. The graph need not outlive the source.
///
/// Errors: kNotFound; kInvalidArgument saying which file, line, input and column, and what to do:
/// an unknown kind of file, names, counts, types or shapes that do not fit, NaN or infinite values,
/// labels other than 0 and 1, as many labels as samples they are not, or all of one class;
/// kUnavailable, kResourceExhausted as the readers. The same come from Next where what is wrong is
/// in a sample, and kFailedPrecondition where the file has changed. How many samples are enough is
/// for the caller to say.
Result<std::unique_ptr<SampleSource>> OpenCalibrationData(const std::filesystem::path& path,
                                                          const Graph& graph,
                                                          const CalibrationDataOptions& options);

}  // namespace verdict
