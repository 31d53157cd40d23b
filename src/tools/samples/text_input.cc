#include "tools/samples/text_input.h"

#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace verdict {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

Result<TextInput> TextInput::Open(const std::filesystem::path& path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) {
    return NotFound(path.string() + ": there is no such file");
  }
  if (kind != std::filesystem::file_type::regular) {
    return InvalidArgument(
        path.string() +
        ": not a regular file; samples are read more than once: save them to a file");
  }
  auto stream = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!stream->is_open()) return Unavailable(path.string() + ": it cannot be opened for reading");
  return TextInput(std::move(stream), path.string());
}

TextInput::TextInput(std::unique_ptr<std::istream> stream, std::string name)
    : stream_(std::move(stream)), name_(std::move(name)), buffer_(kBufferBytes) {}

void TextInput::Fill() {
  position_ = size_ = 0;
  if (!stream_->good()) return;
  stream_->read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
  size_ = static_cast<size_t>(stream_->gcount());
  if (!std::exchange(at_start_, false)) return;
  if (std::string_view(buffer_.data(), size_).starts_with(kByteOrderMark)) {
    position_ = kByteOrderMark.size();
  }
}

Result<bool> TextInput::ReadLine(std::string* line) {
  line->clear();
  const int64_t number = line_;
  int byte = Get();
  if (byte == kEnd) {
    VERDICT_RETURN_IF_ERROR(status());
    return false;
  }
  for (; byte != '\n' && byte != kEnd; byte = Get()) {
    if (line->size() == kMaxRecordBytes) {
      return ResourceExhausted(name_ + ", line " + std::to_string(number) + ": longer than " +
                               std::to_string(kMaxRecordBytes >> 20) + " MiB");
    }
    line->push_back(static_cast<char>(byte));
  }
  VERDICT_RETURN_IF_ERROR(status());
  if (line->ends_with('\r')) line->pop_back();
  return true;
}

Status TextInput::status() const {
  return stream_->bad() ? Unavailable(name_ + ": it cannot be read any more") : OkStatus();
}

Status TextInput::Rewind() {
  stream_->clear();
  stream_->seekg(0);
  if (!stream_->good()) return Unavailable(name_ + ": it cannot be read from the start again");
  position_ = size_ = 0;
  at_start_ = true;
  line_ = 1;
  return OkStatus();
}

}  // namespace verdict
