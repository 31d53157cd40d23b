#include "tools/samples/csv_reader.h"

namespace verdict {
namespace {

constexpr size_t kMaxFields = 65'536;

}  // namespace

Result<bool> CsvReader::Next(std::vector<std::string>* fields) {
  while (input_.Peek() != TextInput::kEnd) {
    line_ = input_.line();
    if (Status status = ReadRecord(fields); !status.ok()) {
      return status.WithContext(name() + ", line " + std::to_string(line_));
    }
    const bool blank = fields->size() == 1 && fields->front().empty() && !quoted_;
    if (!blank) return true;
  }
  VERDICT_RETURN_IF_ERROR(input_.status());
  return false;
}

Status CsvReader::ReadRecord(std::vector<std::string>* fields) {
  fields->clear();
  bytes_ = 0;
  quoted_ = false;
  bool more = true;
  while (more) {
    if (fields->size() == kMaxFields) {
      return ResourceExhausted("over " + std::to_string(kMaxFields) + " fields");
    }
    std::string& field = fields->emplace_back();
    VERDICT_ASSIGN_OR_RETURN(more,
                             input_.Peek() == '"' ? ReadQuotedField(&field) : ReadField(&field));
  }
  return input_.status();
}

Result<bool> CsvReader::ReadField(std::string* field) {
  while (true) {
    const int byte = input_.Get();
    if (byte == ',') return true;
    if (byte == '\n' || byte == TextInput::kEnd) break;
    VERDICT_RETURN_IF_ERROR(Append(byte, field));
  }
  if (field->ends_with('\r')) field->pop_back();
  return false;
}

Result<bool> CsvReader::ReadQuotedField(std::string* field) {
  quoted_ = true;
  input_.Get();
  while (true) {
    const int byte = input_.Get();
    if (byte == TextInput::kEnd) return InvalidArgument("a quote that is opened is not closed");
    if (byte == '"') {
      if (input_.Peek() != '"') break;
      input_.Get();
    }
    VERDICT_RETURN_IF_ERROR(Append(byte, field));
  }
  int byte = input_.Get();
  if (byte == '\r' && (input_.Peek() == '\n' || input_.Peek() == TextInput::kEnd)) {
    byte = input_.Get();
  }
  if (byte == ',') return true;
  if (byte == '\n' || byte == TextInput::kEnd) return false;
  return InvalidArgument("text after a closing quote; a quote within quotes is written twice");
}

Status CsvReader::Append(int byte, std::string* field) {
  if (++bytes_ > kMaxRecordBytes) {
    return ResourceExhausted("a record of over " + std::to_string(kMaxRecordBytes >> 20) +
                             " MiB; is a quote left open?");
  }
  field->push_back(static_cast<char>(byte));
  return OkStatus();
}

}  // namespace verdict
