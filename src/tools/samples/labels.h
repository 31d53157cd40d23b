#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "quant/sample_source.h"

namespace verdict {

/// The labels in an array [rows] or [rows,1] of numbers. Errors: kInvalidArgument: another shape or
/// type; a label that is neither 0 nor 1, naming its position.
Result<std::vector<float>> LabelsOf(const Constant& array);

/// Reads labels from a file of their own: .npy; .npz with one array or one named `column`; .csv
/// with one column, with or without a header, or one named `column`. column: empty stands for
/// "label", which need not be there. Errors: kNotFound, kInvalidArgument naming the file and the
/// line; as ReadNpz and CsvReader.
Result<std::vector<float>> ReadLabels(const std::filesystem::path& path, const std::string& column);

/// `source` with labels from elsewhere; another number of samples than labels is an error at the
/// end of a pass. file: where they are from, for messages.
std::unique_ptr<SampleSource> WithLabels(std::unique_ptr<SampleSource> source,
                                         std::vector<float> labels, std::string file);

/// Reads all of a source with labels once, and rewinds it. file: where the labels are from, for
/// messages. Errors: those of the source; kInvalidArgument: there are no samples, or their labels
/// are all of one class, so that no ranking can be measured.
Status CheckLabels(SampleSource* source, const std::string& file);

}  // namespace verdict
