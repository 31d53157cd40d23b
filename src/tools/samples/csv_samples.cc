#include "tools/samples/csv_samples.h"

#include <string>
#include <utility>
#include <vector>

#include "tools/samples/csv_columns.h"
#include "tools/samples/csv_reader.h"

namespace verdict {
namespace {

class CsvSamples final : public RowSource {
 public:
  CsvSamples(CsvReader reader, std::vector<std::string> header, CsvColumns columns,
             SampleLayout layout, const SampleOptions& options)
      : RowSource(std::move(layout), options),
        reader_(std::move(reader)),
        header_(std::move(header)),
        columns_(std::move(columns)) {}

  bool has_labels() const override { return columns_.label.has_value() && !options_.label_ignored; }

  Status Rewind() override {
    VERDICT_RETURN_IF_ERROR(reader_.Rewind());
    VERDICT_ASSIGN_OR_RETURN(const bool more, reader_.Next(&fields_));
    if (!more || fields_ != header_) {
      return FailedPrecondition(reader_.name() + ": the file has changed since it was opened");
    }
    return OkStatus();
  }

 private:
  static Result<Number> LabelNumber(const std::string& field) {
    auto number = ParseNumber(field);
    if (!number.ok()) return number.status().WithContext("the label");
    return number;
  }

  Result<bool> NextRow(SampleRows* rows) override {
    VERDICT_ASSIGN_OR_RETURN(const bool more, reader_.Next(&fields_));
    if (!more) return false;
    if (Status status = AddRow(rows); !status.ok()) {
      return status.WithContext(reader_.name() + ", line " + std::to_string(reader_.line()));
    }
    return true;
  }

  Status AddRow(SampleRows* rows) {
    if (fields_.size() != header_.size()) {
      return InvalidArgument(std::to_string(fields_.size()) + " fields, the header has " +
                             std::to_string(header_.size()));
    }
    for (size_t input = 0; input < columns_.inputs.size(); ++input) {
      for (const size_t column : columns_.inputs[input]) {
        if (Status status = rows->AddText(input, fields_[column]); !status.ok()) {
          return status.WithContext("input '" + layout_.inputs()[input].name + "', column '" +
                                    header_[column] + "'");
        }
      }
    }
    if (has_labels()) {
      VERDICT_ASSIGN_OR_RETURN(const Number number, LabelNumber(fields_[*columns_.label]));
      VERDICT_ASSIGN_OR_RETURN(const float label, LabelOf(number));
      rows->AddLabel(label);
    }
    return OkStatus();
  }

  CsvReader reader_;
  std::vector<std::string> header_;
  CsvColumns columns_;
  std::vector<std::string> fields_;  // of the record at hand
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenCsvSamples(TextInput input, SampleLayout layout,
                                                     const SampleOptions& options) {
  CsvReader reader(std::move(input));
  std::vector<std::string> header;
  VERDICT_ASSIGN_OR_RETURN(const bool more, reader.Next(&header));
  if (!more) {
    return InvalidArgument(reader.name() + ": the file is empty; its first line names the columns");
  }
  auto columns = FindCsvColumns(header, options, &layout);
  if (!columns.ok()) return columns.status().WithContext(reader.name());
  return std::unique_ptr<SampleSource>(std::make_unique<CsvSamples>(
      std::move(reader), std::move(header), *std::move(columns), std::move(layout), options));
}

}  // namespace verdict
