#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace verdict::load {

/// What a process has used since it began.
struct ProcessUsage {
  double user_s = 0;
  double kernel_s = 0;
  int64_t resident_bytes = 0;
};

/// Of the text of /proc/PID/stat. Errors: kInvalidArgument if it is not such a text.
Result<ProcessUsage> ParseProcessStat(std::string_view text, int64_t ticks_per_s,
                                      int64_t page_bytes);

/// All threads of process `pid`; 0 for this process. Errors: kNotFound if there is none.
Result<ProcessUsage> ReadProcessUsage(int pid);

}  // namespace verdict::load
