#include "runtime/device_worker/futex.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace verdict {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void FutexWait(std::atomic<uint32_t>& word, uint32_t value,
               std::optional<std::chrono::nanoseconds> timeout) {
  timespec duration{};
  if (timeout) {
    if (timeout->count() <= 0) return;
    duration.tv_sec = static_cast<time_t>(timeout->count() / 1'000'000'000);
    duration.tv_nsec = static_cast<decltype(duration.tv_nsec)>(timeout->count() % 1'000'000'000);
  }
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, timeout ? &duration : nullptr, nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word, int threads) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, threads, nullptr, nullptr, 0);
}

void SpinYield() { ::sched_yield(); }

}  // namespace verdict
