#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>

#include "base/status.h"

namespace verdict {

/// Memory that several users on one thread take turns with: as large as the largest of them needs.
/// What one leaves there, the next may overwrite.
class Arena {
 public:
  static constexpr size_t kAlignment = 64;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Makes room for one more user, of `bytes`. Errors: kResourceExhausted; the arena is then as it
  /// was. Threads: any, also while the arena is in use.
  Status Reserve(size_t bytes);

  /// Takes back one Reserve of `bytes`; memory that no user needs any more is given back when the
  /// arena is acquired next. Threads: any.
  void Release(size_t bytes);

  /// The memory, aligned to kAlignment; null before the first Reserve. It moves in here and nowhere
  /// else, so that users compare the address with the one they know. Never allocates. Threads: the
  /// one that uses the memory.
  std::byte* Acquire() {
    if (moved_.load(std::memory_order_acquire)) Move();
    return current_.get();
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  using Block = std::unique_ptr<std::byte, Free>;
  static Block Allocate(size_t bytes);
  void Move();

  Block current_;  // of the thread that uses it
  std::atomic<bool> moved_{false};
  std::mutex mutex_;  // guards what follows
  Block next_;        // takes current_'s place at the next Acquire, if moved_
  size_t bytes_ = 0;  // of the newest block
  std::multiset<size_t> users_;
};

}  // namespace verdict
