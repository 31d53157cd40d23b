// The two headers of W3C Trace Context; a NUL byte parts them.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "observe/trace/trace_context.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  // Blocks of their own, so that AddressSanitizer sees reads beyond them.
  const auto own = [](std::string_view text) {
    auto copy = std::make_unique<char[]>(text.size());
    text.copy(copy.get(), text.size());
    return copy;
  };
  const std::string_view parent = input.substr(0, zero);
  const std::string_view state =
      zero == std::string_view::npos ? std::string_view() : input.substr(zero + 1);
  const auto parent_bytes = own(parent);
  const auto state_bytes = own(state);
  const verdict::TraceContext context = verdict::ParseTraceContext(
      {parent_bytes.get(), parent.size()}, {state_bytes.get(), state.size()});
  if (!context.has_parent()) {
    if (context.sampled || !context.tracestate.empty()) std::abort();
    return 0;
  }
  // What was accepted is written again and read back as the same.
  const auto text =
      verdict::FormatTraceparent(context.trace_id, context.parent_id, context.sampled);
  const verdict::TraceContext again =
      verdict::ParseTraceContext({text.data(), text.size()}, context.tracestate);
  if (again.trace_id != context.trace_id || again.parent_id != context.parent_id ||
      again.sampled != context.sampled || again.tracestate != context.tracestate) {
    std::abort();
  }
  return 0;
}
