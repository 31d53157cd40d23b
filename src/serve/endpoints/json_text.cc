#include "serve/endpoints/json_text.h"

#include <simdjson.h>

#include <charconv>

namespace verdict {
namespace {

template <typename T>
void AppendToChars(std::string* out, T value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  VERDICT_CHECK(result.ec == std::errc());
  out->append(buffer, result.ptr);
}

}  // namespace

void AppendJsonString(std::string* out, std::string_view text) {
  const bool utf8 = simdjson::validate_utf8(text);
  out->push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out->append("\\u00");
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else if (byte >= 0x80 && !utf8) {
      out->append("\xef\xbf\xbd");
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

void AppendJsonInteger(std::string* out, int64_t value) { AppendToChars(out, value); }
void AppendJsonInteger(std::string* out, uint64_t value) { AppendToChars(out, value); }
void AppendJsonNumber(std::string* out, float value) { AppendToChars(out, value); }
void AppendJsonNumber(std::string* out, double value) { AppendToChars(out, value); }

void AppendJsonShape(std::string* out, std::span<const Dim> dims) {
  out->push_back('[');
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendJsonInteger(out, int64_t{dims[i]});
  }
  out->push_back(']');
}

std::string Quoted(std::string_view text) {
  constexpr size_t kMaxBytes = 64;
  if (text.size() <= kMaxBytes) return "'" + std::string(text) + "'";
  size_t end = kMaxBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return "'" + std::string(text.substr(0, end)) + "…'";
}

}  // namespace verdict
