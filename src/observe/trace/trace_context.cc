#include "observe/trace/trace_context.h"

#include <algorithm>
#include <span>

namespace verdict {
namespace {

constexpr size_t kMaxTracestateMembers = 32;

/// Upper-case digits are no digits here: the standard forbids them.
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// Returns: false unless `text` is two digits per byte of `bytes`.
bool ReadHex(std::string_view text, std::span<uint8_t> bytes) {
  if (text.size() != 2 * bytes.size()) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

void AppendHex(std::span<const uint8_t> bytes, char** out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const uint8_t byte : bytes) {
    *(*out)++ = kDigits[byte >> 4];
    *(*out)++ = kDigits[byte & 15];
  }
}

bool IsLowerAlpha(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

/// "vendor" or "tenant@system".
bool IsTracestateKey(std::string_view key) {
  const auto is_key_char = [](char c) {
    return IsLowerAlpha(c) || IsDigit(c) || c == '_' || c == '-' || c == '*' || c == '/';
  };
  const auto is_part = [&](std::string_view part, size_t max_size, bool may_begin_with_digit) {
    return !part.empty() && part.size() <= max_size &&
           (IsLowerAlpha(part[0]) || (may_begin_with_digit && IsDigit(part[0]))) &&
           std::ranges::all_of(part, is_key_char);
  };
  const size_t at = key.find('@');
  if (at == std::string_view::npos) return is_part(key, 256, true);
  return is_part(key.substr(0, at), 241, true) && is_part(key.substr(at + 1), 14, false);
}

bool IsTracestateValue(std::string_view value) {
  return !value.empty() && value.size() <= 256 && value.back() != ' ' &&
         std::ranges::all_of(value,
                             [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

bool IsTracestate(std::string_view text) {
  if (text.size() > kMaxTracestateBytes) return false;
  size_t members = 0;
  std::array<std::string_view, kMaxTracestateMembers> keys;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view member = Trimmed(text.substr(0, comma));
    if (!member.empty()) {  // empty ones are allowed
      const size_t equals = member.find('=');
      if (equals == std::string_view::npos || members == kMaxTracestateMembers) return false;
      const std::string_view key = member.substr(0, equals);
      if (!IsTracestateKey(key) || !IsTracestateValue(member.substr(equals + 1))) return false;
      const auto used = std::span(keys).first(members);
      if (std::ranges::find(used, key) != used.end()) return false;
      keys[members++] = key;
    }
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

TraceContext ParseTraceContext(std::string_view traceparent, std::string_view tracestate) {
  // version "-" trace-id "-" parent-id "-" trace-flags
  const std::string_view text = Trimmed(traceparent);
  if (text.size() < kTraceparentBytes || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return {};
  }
  std::array<uint8_t, 1> version{};
  std::array<uint8_t, 1> flags{};
  TraceContext context;
  if (!ReadHex(text.substr(0, 2), version) || !ReadHex(text.substr(3, 32), context.trace_id) ||
      !ReadHex(text.substr(36, 16), context.parent_id) || !ReadHex(text.substr(53, 2), flags)) {
    return {};
  }
  // A later version may add fields behind these; 255 is forbidden.
  const bool longer = text.size() > kTraceparentBytes;
  if (version[0] == 0xff || (version[0] == 0 && longer) ||
      (longer && text[kTraceparentBytes] != '-')) {
    return {};
  }
  if (context.trace_id == TraceId{} || context.parent_id == SpanId{}) return {};
  context.sampled = (flags[0] & 1) != 0;
  const std::string_view state = Trimmed(tracestate);
  if (IsTracestate(state)) context.tracestate = state;
  return context;
}

std::array<char, kTraceparentBytes> FormatTraceparent(const TraceId& trace, const SpanId& span,
                                                      bool sampled) {
  std::array<char, kTraceparentBytes> text;
  char* out = text.data();
  for (const char c : {'0', '0', '-'}) *out++ = c;
  AppendHex(trace, &out);
  *out++ = '-';
  AppendHex(span, &out);
  for (const char c : {'-', '0', sampled ? '1' : '0'}) *out++ = c;
  return text;
}

}  // namespace verdict
