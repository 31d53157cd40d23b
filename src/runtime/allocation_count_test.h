#pragma once

#include <cstdint>

namespace verdict {

/// Sanitizers bring their own malloc: there nothing is counted.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

/// Calls of malloc and its kin, and so of operator new, in this program so far.
int64_t AllocationCount();

}  // namespace verdict
