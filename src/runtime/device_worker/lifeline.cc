#include "runtime/device_worker/lifeline.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include "runtime/device_worker/futex.h"

namespace verdict {

void Lifeline::Hold() {
  node_.next = &head_.list;
  head_.list.next = &node_;
  head_.futex_offset = reinterpret_cast<char*>(&word_) - reinterpret_cast<char*>(&node_);
  head_.list_op_pending = nullptr;
  word_.fetch_or(static_cast<uint32_t>(::syscall(SYS_gettid)));
  ::syscall(SYS_set_robust_list, &head_, sizeof(head_));
}

bool Lifeline::WaitForEnd(std::chrono::nanoseconds timeout) {
  // The bit says that there is somebody to wake.
  const uint32_t now = word_.fetch_or(FUTEX_WAITERS) | FUTEX_WAITERS;
  if ((now & FUTEX_OWNER_DIED) != 0) return true;
  FutexWait(word_, now, timeout);
  return (word_.load() & FUTEX_OWNER_DIED) != 0;
}

void Lifeline::Wake() { FutexWake(word_, INT32_MAX); }

}  // namespace verdict
