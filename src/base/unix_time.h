#pragma once

#include <chrono>
#include <cstdint>

namespace verdict {

/// Seconds since 1970, UTC, by the system's clock.
inline int64_t UnixTime() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace verdict
