#include "onnx/external_data.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "base/checked_math.h"

namespace verdict {
namespace {

Result<size_t> ParseSize(const std::string& key, const std::string& text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("external data: " + key + " '" + text + "' is not a number of bytes");
  }
  return value;
}

Status CheckLocation(const std::string& location) {
  const std::filesystem::path path(location);
  const bool climbs = std::ranges::any_of(path, [](const auto& part) { return part == ".."; });
  if (location.empty() || location.find('\0') != std::string::npos || path.is_absolute() ||
      climbs) {
    return InvalidArgument("external data: location '" + location +
                           "' must be a relative path inside the model's own folder");
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> ExternalData::Open(const std::string& location) {
  if (folder_.empty()) {
    return InvalidArgument("external data: '" + location +
                           "' cannot be read, since the model was given without a folder");
  }
  VERDICT_RETURN_IF_ERROR(CheckLocation(location));
  // Links are resolved first, so that one that leads out of the folder is seen.
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(folder_, error);
  if (error) return NotFound(folder_.string() + ": " + error.message());
  const std::filesystem::path path = std::filesystem::canonical(folder / location, error);
  if (error) {
    return NotFound("external data: '" + location + "' in " + folder.string() + ": " +
                    error.message() + "; keep the data file beside the model");
  }
  const auto [folder_end, rest] =
      std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  if (folder_end != folder.end()) {
    return InvalidArgument("external data: location '" + location +
                           "' is a link that leaves the model's own folder");
  }
  const auto found = files_.find(path);
  if (found != files_.end()) return found->second;
  VERDICT_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  files_.emplace(path, file);
  return file;
}

Result<ExternalData::Bytes> ExternalData::Read(const onnx::TensorProto& tensor, size_t size_bytes) {
  std::string location;
  size_t offset = 0;
  size_t length = size_bytes;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") {
      location = entry.value();
    } else if (entry.key() == "offset") {
      VERDICT_ASSIGN_OR_RETURN(offset, ParseSize("offset", entry.value()));
    } else if (entry.key() == "length") {
      VERDICT_ASSIGN_OR_RETURN(length, ParseSize("length", entry.value()));
    }
  }
  if (length != size_bytes) {
    return InvalidArgument("external data: length " + std::to_string(length) +
                           " does not fit the shape, which needs " + std::to_string(size_bytes) +
                           " bytes");
  }
  VERDICT_ASSIGN_OR_RETURN(const auto file, Open(location));
  const size_t file_size = file->bytes().size();
  size_t end = 0;
  if (!CheckedAdd(offset, length, &end) || end > file_size) {
    return InvalidArgument("external data: offset " + std::to_string(offset) + " and length " +
                           std::to_string(length) + " reach beyond '" + location + "', which has " +
                           std::to_string(file_size) + " bytes; the file may be truncated");
  }
  return Bytes{file->bytes().subspan(offset, length), file};
}

Status ExternalData::CountCopy(size_t bytes) {
  constexpr size_t kMaxCopied = size_t{4} << 30;
  if (bytes > kMaxCopied - copied_bytes_) {
    return ResourceExhausted(
        "over 4 GiB of external data are bools, or not aligned to 64 bytes, and would have to be "
        "copied; save the model again with aligned external data");
  }
  copied_bytes_ += bytes;
  return OkStatus();
}

}  // namespace verdict
