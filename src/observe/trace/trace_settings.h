#pragma once

#include <cstdint>
#include <optional>

namespace verdict {

/// Which requests are traced. The names are those of Triton's trace extension.
struct TraceSettings {
  bool timestamps = false;  // trace_level: TIMESTAMPS, else OFF
  uint64_t rate = 1000;     // trace_rate: one request in so many; > 0
  int64_t count = -1;       // trace_count: so many more requests; -1: without end

  friend bool operator==(const TraceSettings&, const TraceSettings&) = default;
};

/// A change of settings. Outer: absent leaves it as it is; inner: absent goes back to the default
/// (a model's: what holds for all models; for all models: what the server was started with).
struct TraceSettingsUpdate {
  std::optional<std::optional<bool>> timestamps;
  std::optional<std::optional<uint64_t>> rate;
  std::optional<std::optional<int64_t>> count;
};

}  // namespace verdict
