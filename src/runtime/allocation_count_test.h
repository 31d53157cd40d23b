#pragma once

#include <cstdint>

#include "base/sanitized_test.h"

namespace verdict {

/// Sanitizers bring their own malloc: there nothing is counted.
#ifdef VERDICT_SANITIZED
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

/// Calls of malloc and its kin, and so of operator new, in this program so far.
int64_t AllocationCount();

}  // namespace verdict
