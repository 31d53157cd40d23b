#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace verdict {

/// The bytes of a text, one after another, from a buffer of fixed size; passes over a byte order
/// mark and counts lines. The file may change meanwhile: it is read, not mapped.
class TextInput {
 public:
  static constexpr int kEnd = -1;

  /// Errors: kNotFound, kInvalidArgument (not a regular file, which cannot be read twice),
  /// kUnavailable (not allowed).
  static Result<TextInput> Open(const std::filesystem::path& path);
  /// name: stands for the file in messages.
  TextInput(std::unique_ptr<std::istream> stream, std::string name);

  const std::string& name() const { return name_; }
  /// The line, from 1, on which the next byte is.
  int64_t line() const { return line_; }

  /// The next byte, or kEnd; Get also goes on.
  int Peek() {
    if (position_ == size_) Fill();
    return position_ == size_ ? kEnd : static_cast<unsigned char>(buffer_[position_]);
  }
  int Get() {
    const int byte = Peek();
    if (byte != kEnd) ++position_;
    if (byte == '\n') ++line_;
    return byte;
  }

  /// Reads a line without its end, "\n" or "\r\n"; false at the end of the text.
  /// Errors: kResourceExhausted: longer than kMaxRecordBytes; as status().
  Result<bool> ReadLine(std::string* line);

  /// After kEnd: whether that was the end. Errors: kUnavailable: the file cannot be read any more.
  Status status() const;

  /// Begins again. Errors: kUnavailable.
  Status Rewind();

 private:
  void Fill();

  std::unique_ptr<std::istream> stream_;
  std::string name_;
  std::vector<char> buffer_;
  size_t position_ = 0, size_ = 0;
  bool at_start_ = true;
  int64_t line_ = 1;
};

/// The longest line, or CSV record: what one sample may take of a file.
inline constexpr size_t kMaxRecordBytes = size_t{16} << 20;

}  // namespace verdict
