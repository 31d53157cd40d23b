#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace verdict {

/// Of a whole trace, and of one span in it. All zero: none.
using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

/// What a caller's headers say about the trace that a request belongs to.
/// Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
struct TraceContext {
  TraceId trace_id{};
  SpanId parent_id{};           // the caller's span
  bool sampled = false;         // the caller records it
  std::string_view tracestate;  // the vendors' own; points into the header

  /// False: there was no usable traceparent, and all else is empty.
  bool has_parent() const { return trace_id != TraceId{}; }
};

/// Longest tracestate that is passed on. The standard asks for 512 characters at least.
inline constexpr size_t kMaxTracestateBytes = 1024;

/// Reads the headers as the standard says: a malformed traceparent counts as none, and then so does
/// the tracestate; a malformed tracestate is left out. Headers of the same name are joined by the
/// caller with ','. Threads: pure. Takes no memory.
TraceContext ParseTraceContext(std::string_view traceparent, std::string_view tracestate);

/// Length of what FormatTraceparent writes.
inline constexpr size_t kTraceparentBytes = 55;

/// "00-<trace id>-<span id>-01": the header that says which span answered. Of version 00.
std::array<char, kTraceparentBytes> FormatTraceparent(const TraceId& trace, const SpanId& span,
                                                      bool sampled);

/// Lower-case hexadecimal digits.
template <size_t N>
std::string HexText(const std::array<uint8_t, N>& id) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : id) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace verdict
