#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace verdict {

// Words in memory that two processes share.

/// Sleeps while `word` is `value`, until a wake-up, the time-out, or for no reason.
void FutexWait(std::atomic<uint32_t>& word, uint32_t value,
               std::optional<std::chrono::nanoseconds> timeout);
void FutexWake(std::atomic<uint32_t>& word, int threads);

/// What a loop that waits for memory to change does in between, and every now and then: where there
/// are too few cores, what it waits for may be waiting for this one.
inline void SpinPause() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

void SpinYield();

/// How often such a loop looks between two that also ask the clock or the system, which takes as
/// long as many looks.
constexpr uint32_t kLooksPerClock = 256;

}  // namespace verdict
