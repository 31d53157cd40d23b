#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/samples/text_input.h"

namespace verdict {

/// Reads comma-separated values as RFC 4180 has them: fields in double quotes may hold commas, line
/// ends and, doubled, quotes. Lines end with "\r\n" or "\n", the last one with or without; empty
/// lines are passed over. A quote inside a field that does not begin with one is itself.
class CsvReader {
 public:
  explicit CsvReader(TextInput input) : input_(std::move(input)) {}

  const std::string& name() const { return input_.name(); }
  /// The line, from 1, on which the last record began.
  int64_t line() const { return line_; }

  /// The next record's fields; false at the end of the text. Memory: what the record takes.
  /// Errors: kInvalidArgument naming file and line: a quote that is not closed, or followed by
  /// text; kResourceExhausted: a record over kMaxRecordBytes or 65,536 fields; as
  /// TextInput::status.
  Result<bool> Next(std::vector<std::string>* fields);

  Status Rewind() { return input_.Rewind(); }

 private:
  Status ReadRecord(std::vector<std::string>* fields);
  /// Returns: whether another field follows.
  Result<bool> ReadField(std::string* field);
  Result<bool> ReadQuotedField(std::string* field);
  Status Append(int byte, std::string* field);

  TextInput input_;
  int64_t line_ = 0;
  size_t bytes_ = 0;     // of the record so far
  bool quoted_ = false;  // the record has a field in quotes
};

}  // namespace verdict
