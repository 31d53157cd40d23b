#include "tools/samples/labels.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/file.h"
#include "config/nearest_name.h"
#include "tools/npy.h"
#include "tools/npz.h"
#include "tools/samples/csv_reader.h"
#include "tools/samples/sample_number.h"

namespace verdict {
namespace {

constexpr std::string_view kDefaultColumn = "label";

Result<std::vector<float>> ParseNpyLabels(std::span<const std::byte> bytes) {
  VERDICT_ASSIGN_OR_RETURN(const Constant array, ParseNpy(bytes, kMaxNpzBytes));
  return LabelsOf(array);
}

Result<std::vector<float>> FromNpz(const NamedTensors& arrays, const std::string& column) {
  auto it = arrays.find(column.empty() ? kDefaultColumn : std::string_view(column));
  if (it == arrays.end() && column.empty() && arrays.size() == 1) it = arrays.begin();
  if (it == arrays.end()) {
    std::vector<std::string> names;
    for (const auto& [name, array] : arrays) names.push_back(name);
    return InvalidArgument(
        column.empty() ? "it has " + std::to_string(names.size()) +
                             " arrays, none of them 'label'; name the labels' one with "
                             "--label-column"
                       : "there is no array " + Excerpt(column) + DidYouMean(column, names));
  }
  auto labels = LabelsOf(it->second);
  if (!labels.ok()) return labels.status().WithContext("array '" + it->first + "'");
  return labels;
}

/// The column in which the labels are. header: the first record. is_header: whether it is one.
Result<size_t> FindColumn(const std::vector<std::string>& header, const std::string& column,
                          bool* is_header) {
  *is_header = true;
  const auto it =
      std::ranges::find(header, column.empty() ? kDefaultColumn : std::string_view(column));
  if (it != header.end()) return static_cast<size_t>(it - header.begin());
  if (!column.empty()) {
    return InvalidArgument("there is no column " + Excerpt(column) + DidYouMean(column, header));
  }
  if (header.size() > 1) {
    return InvalidArgument("it has " + std::to_string(header.size()) +
                           " columns, none of them 'label'; name the labels' one with "
                           "--label-column");
  }
  *is_header = !ParseNumber(header.front()).ok();
  return size_t{0};
}

Result<std::vector<float>> ReadCsvLabels(CsvReader reader, const std::string& column) {
  std::vector<std::string> fields;
  VERDICT_ASSIGN_OR_RETURN(bool more, reader.Next(&fields));
  if (!more) return InvalidArgument(reader.name() + ": the file is empty");
  const size_t width = fields.size();
  bool is_header = false;
  const auto position = FindColumn(fields, column, &is_header);
  if (!position.ok()) return position.status().WithContext(reader.name());
  if (is_header) {
    VERDICT_ASSIGN_OR_RETURN(more, reader.Next(&fields));
  }
  std::vector<float> labels;
  while (more) {
    const std::string where = reader.name() + ", line " + std::to_string(reader.line());
    if (fields.size() != width) {
      return InvalidArgument(where + ": " + std::to_string(fields.size()) +
                             " fields, the first line has " + std::to_string(width));
    }
    const auto number = ParseNumber(fields[*position]);
    if (!number.ok()) return number.status().WithContext(where);
    const auto label = LabelOf(*number);
    if (!label.ok()) return label.status().WithContext(where);
    labels.push_back(*label);
    VERDICT_ASSIGN_OR_RETURN(more, reader.Next(&fields));
  }
  return labels;
}

class LabelledSamples final : public SampleSource {
 public:
  LabelledSamples(std::unique_ptr<SampleSource> source, std::vector<float> labels, std::string file)
      : source_(std::move(source)), labels_(std::move(labels)), file_(std::move(file)) {}

  bool has_labels() const override { return true; }

  Status Rewind() override {
    next_ = 0;
    return source_->Rewind();
  }

  Result<Samples> Next(int64_t max_rows) override {
    VERDICT_ASSIGN_OR_RETURN(Samples samples, source_->Next(max_rows));
    const auto left = static_cast<int64_t>(labels_.size()) - next_;
    if (samples.rows > left) {
      return InvalidArgument(file_ + ": it has only " + std::to_string(labels_.size()) +
                             " labels, there are more samples");
    }
    if (samples.rows == 0 && left > 0) {
      return InvalidArgument(file_ + ": it has " + std::to_string(labels_.size()) +
                             " labels, there are only " + std::to_string(next_) + " samples");
    }
    const auto first = labels_.begin() + next_;
    samples.labels.assign(first, first + samples.rows);
    next_ += samples.rows;
    return samples;
  }

 private:
  std::unique_ptr<SampleSource> source_;
  std::vector<float> labels_;
  std::string file_;
  int64_t next_ = 0;
};

}  // namespace

Result<std::vector<float>> LabelsOf(const Constant& array) {
  const Shape& shape = array.shape;
  if (array.dtype == DataType::kString) return InvalidArgument("labels must be numbers, 0 or 1");
  if (!(shape.rank() == 1 || (shape.rank() == 2 && shape[1] == 1))) {
    return InvalidArgument("labels must have the shape [N] or [N,1], not " + ToString(shape));
  }
  std::vector<float> labels;
  for (int64_t i = 0; i < shape[0]; ++i) {
    const auto label = LabelOf(NumberAt(array.view(), i));
    if (!label.ok()) {
      return label.status().WithContext("sample " + std::to_string(i) + " (counted from 0)");
    }
    labels.push_back(*label);
  }
  return labels;
}

Result<std::vector<float>> ReadLabels(const std::filesystem::path& path,
                                      const std::string& column) {
  const std::string kind = path.extension().string();
  if (kind == ".csv") {
    VERDICT_ASSIGN_OR_RETURN(TextInput input, TextInput::Open(path));
    return ReadCsvLabels(CsvReader(std::move(input)), column);
  }
  if (kind != ".npy" && kind != ".npz") {
    return InvalidArgument(path.string() + ": labels are read from .npy, .npz and .csv files");
  }
  VERDICT_ASSIGN_OR_RETURN(const auto file, FileCopy::Read(path));
  if (kind == ".npz") {
    VERDICT_ASSIGN_OR_RETURN(const NamedTensors arrays, ParseNpz(file->bytes(), path.string()));
    auto labels = FromNpz(arrays, column);
    if (!labels.ok()) return labels.status().WithContext(path.string());
    return labels;
  }
  auto labels = ParseNpyLabels(file->bytes());
  if (!labels.ok()) return labels.status().WithContext(path.string());
  return labels;
}

std::unique_ptr<SampleSource> WithLabels(std::unique_ptr<SampleSource> source,
                                         std::vector<float> labels, std::string file) {
  return std::make_unique<LabelledSamples>(std::move(source), std::move(labels), std::move(file));
}

Status CheckLabels(SampleSource* source, const std::string& file) {
  constexpr int64_t kRowsAtATime = 256;
  int64_t rows = 0;
  int64_t positives = 0;
  while (true) {
    VERDICT_ASSIGN_OR_RETURN(const Samples samples, source->Next(kRowsAtATime));
    if (samples.rows == 0) break;
    rows += samples.rows;
    positives += std::ranges::count(samples.labels, 1.0F);
  }
  if (rows == 0) return InvalidArgument(file + ": there are no samples in it");
  if (positives == 0 || positives == rows) {
    return InvalidArgument(file + ": all " + std::to_string(rows) + " labels are " +
                           (positives == 0 ? "0" : "1") +
                           "; accuracy can only be measured with both, frauds (1) and others (0)");
  }
  return source->Rewind();
}

}  // namespace verdict
