#pragma once

#include <cstdint>

namespace verdict::tensorrt {

/// PTX text (a null-terminated string for cuModuleLoadData, which compiles it for the card at hand)
/// of two kernels:
///   verdict_trap()                     traps: its context is lost
///   verdict_hang(flag, nanoseconds)    spins until the 32 bits at `flag` are not 0, or so long
extern const char kDrillKernels[];

/// Threads of a block of verdict_hang: of so many that they fill any multiprocessor evenly.
inline constexpr uint32_t kHangBlockThreads = 512;
/// A drill ends by itself: a card that hangs for good is not ours to break.
inline constexpr uint64_t kHangNanoseconds = 10'000'000'000;

}  // namespace verdict::tensorrt
