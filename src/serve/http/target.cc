#include "serve/http/target.h"

namespace verdict {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status Decode(std::string_view encoded, std::string* out) {
  out->clear();
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '%') {
      out->push_back(encoded[i]);
      continue;
    }
    const int high = i + 2 < encoded.size() ? HexValue(encoded[i + 1]) : -1;
    const int low = i + 2 < encoded.size() ? HexValue(encoded[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return InvalidArgument("the path has a '%' that two hexadecimal digits do not follow");
    }
    const int byte = high * 16 + low;
    if (byte < 0x20 || byte == 0x7f) {
      return InvalidArgument("the path holds a percent-encoded control character");
    }
    out->push_back(static_cast<char>(byte));
    i += 2;
  }
  return OkStatus();
}

}  // namespace

Status TargetPath::Parse(std::string_view target) {
  count_ = 0;
  if (!target.starts_with('/')) {
    const size_t authority = target.find("://");
    const size_t path =
        authority == std::string_view::npos ? authority : target.find('/', authority + 3);
    if (path == std::string_view::npos) return NotFound("there is no such endpoint");
    target.remove_prefix(path);
  }
  target = target.substr(0, target.find_first_of("?#"));
  if (target.size() > 1 && target.ends_with('/')) target.remove_suffix(1);
  while (!target.empty()) {
    target.remove_prefix(1);  // the '/'
    if (count_ == kMaxSegments) return NotFound("there is no such endpoint");
    const std::string_view segment = target.substr(0, target.find('/'));
    VERDICT_RETURN_IF_ERROR(Decode(segment, &segments_[count_++]));
    target.remove_prefix(segment.size());
  }
  return OkStatus();
}

bool TargetPath::Matches(std::string_view pattern, std::string_view* model,
                         std::string_view* version, std::string_view* region) const {
  size_t index = 0;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the '/'
    const std::string_view wanted = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(wanted.size());
    if (index == count_) return false;
    const std::string& segment = segments_[index++];
    if (wanted == "{model}" && !segment.empty()) {
      *model = segment;
    } else if (wanted == "{version}" && !segment.empty()) {
      *version = segment;
    } else if (wanted == "{region}" && !segment.empty()) {
      *region = segment;
    } else if (segment.empty() || (wanted != segment && !wanted.starts_with('{'))) {
      return false;
    }
  }
  return index == count_;
}

}  // namespace verdict
