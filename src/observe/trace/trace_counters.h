#pragma once

#include <atomic>
#include <cstdint>

namespace verdict {

/// What became of the spans, for the metrics. Threads: any.
struct TraceCounters {
  std::atomic<uint64_t> exported{0};  // taken by the collector
  std::atomic<uint64_t> dropped{0};   // lost: no room, or the collector did not take them
};

}  // namespace verdict
