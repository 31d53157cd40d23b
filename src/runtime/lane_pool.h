#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

namespace verdict {

/// Lanes 0 … count-1, each for one thread at a time. Threads that find none free wait, and get one
/// in the order in which they came. Allocates nothing after construction. Threads: any.
class LanePool {
 public:
  /// What Borrow answers once the pool is closed.
  static constexpr size_t kClosed = ~size_t{0};

  explicit LanePool(size_t count);

  /// Cost: a lock where a lane is free.
  size_t Borrow();
  void Return(size_t lane);
  /// Sends those away that wait, and waits for every lane to be returned.
  void Close();

 private:
  /// On the stack of the thread that waits.
  struct Waiter {
    std::condition_variable wake;
    size_t lane = kClosed;
    bool done = false;
    Waiter* next = nullptr;
  };

  std::mutex mutex_;  // guards all below
  std::condition_variable all_returned_;
  std::vector<size_t> free_;  // the one returned last is the warmest: it goes first
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  size_t count_;
  bool closed_ = false;
};

}  // namespace verdict
