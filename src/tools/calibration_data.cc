#include "tools/calibration_data.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "tools/npz.h"
#include "tools/samples/csv_samples.h"
#include "tools/samples/jsonl_samples.h"
#include "tools/samples/labels.h"
#include "tools/samples/npz_samples.h"

namespace verdict {
namespace {

/// How the samples' own file is read.
Result<SampleOptions> OptionsOf(const CalibrationDataOptions& options, const SampleLayout& layout) {
  SampleOptions own{.allow_nan = options.allow_nan};
  if (!options.labels.empty()) return own;
  own.label_required = !options.label_column.empty() && !options.ignore_labels;
  own.label_ignored = options.ignore_labels;
  own.label = options.label_column.empty() ? "label" : options.label_column;
  const auto inputs = layout.Names();
  if (std::ranges::find(inputs, own.label) != inputs.end()) {
    if (own.label_required) {
      return InvalidArgument("--label-column " + own.label +
                             " names an input of the model; name the column of the labels");
    }
    own.label.clear();
  }
  return own;
}

Result<std::unique_ptr<SampleSource>> OpenSamples(const std::filesystem::path& path,
                                                  SampleLayout layout,
                                                  const SampleOptions& options) {
  const std::string kind = path.extension().string();
  if (kind == ".npz") {
    VERDICT_ASSIGN_OR_RETURN(const auto file, FileCopy::Read(path));
    VERDICT_ASSIGN_OR_RETURN(NamedTensors arrays, ParseNpz(file->bytes(), path.string()));
    return OpenNpzSamples(std::move(arrays), path.string(), std::move(layout), options);
  }
  if (kind == ".csv" || kind == ".jsonl") {
    VERDICT_ASSIGN_OR_RETURN(TextInput input, TextInput::Open(path));
    return kind == ".csv" ? OpenCsvSamples(std::move(input), std::move(layout), options)
                          : OpenJsonlSamples(std::move(input), std::move(layout), options);
  }
  std::string message = path.string() + ": samples are read from .npz, .csv and .jsonl files";
  if (kind == ".gz" || kind == ".zst" || kind == ".bz2" || kind == ".xz") {
    message += "; decompress it first";
  }
  return InvalidArgument(std::move(message));
}

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenCalibrationData(const std::filesystem::path& path,
                                                          const Graph& graph,
                                                          const CalibrationDataOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(SampleLayout layout, SampleLayout::Of(graph));
  VERDICT_ASSIGN_OR_RETURN(const SampleOptions own, OptionsOf(options, layout));
  VERDICT_ASSIGN_OR_RETURN(auto source, OpenSamples(path, std::move(layout), own));
  if (!options.labels.empty()) {
    VERDICT_ASSIGN_OR_RETURN(auto labels, ReadLabels(options.labels, options.label_column));
    source = WithLabels(std::move(source), std::move(labels), options.labels.string());
  }
  if (source->has_labels()) {
    const auto& file = options.labels.empty() ? path : options.labels;
    VERDICT_RETURN_IF_ERROR(CheckLabels(source.get(), file.string()));
  }
  return source;
}

}  // namespace verdict
