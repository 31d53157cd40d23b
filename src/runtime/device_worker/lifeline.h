#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <linux/futex.h>

namespace verdict {

/// Tells another process of a thread's end when it begins, in shared memory. The end of a socket
/// tells it too, but last: before that the kernel takes the process's memory down, which lasts 0.1
/// s and more where there are many GB of mappings, as with a GPU's driver.
///
/// It is what the kernel does for robust mutexes: what a thread has said that it holds is marked as
/// orphaned, and one waiter woken. Zeros are a lifeline that nobody holds yet.
class Lifeline {
 public:
  /// From here on the calling thread holds it. It must not use robust mutexes. Once a thread.
  void Hold();

  /// True once the holder has ended; waits for that at most so long. The holder may write anything
  /// here: it can end its own life, and nothing else.
  bool WaitForEnd(std::chrono::nanoseconds timeout);

  /// Wakes who waits.
  void Wake();

 private:
  robust_list node_;            // the kernel's list, of one
  robust_list_head head_;       // in the holder's addresses
  std::atomic<uint32_t> word_;  // a futex: the holder's thread id, and the kernel's bits
};

}  // namespace verdict
