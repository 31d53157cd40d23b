#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

namespace verdict {

/// Lanes 0 … count-1, each for one thread at a time. Threads that find none free wait, and get one
/// in the order in which they came. Allocates nothing after construction. Threads: any.
class LanePool {
 public:
  using Clock = std::chrono::steady_clock;

  /// What Borrow answers once the pool is closed.
  static constexpr size_t kClosed = ~size_t{0};
  /// And where it finds none in time, or every lane is late.
  static constexpr size_t kNone = kClosed - 1;

  explicit LanePool(size_t count);

  /// Waits until then at most; not at all while every lane is late: who goes on with their runs may
  /// be who waits. Cost: a lock where a lane is free.
  size_t Borrow(Clock::time_point until = Clock::time_point::max());
  /// A borrowed lane's run takes so long that nobody need wait for it.
  void SetLate();
  /// late: SetLate was called for it.
  void Return(size_t lane, bool late = false);
  /// Sends those away that wait, and waits for every lane to be returned.
  void Close();

 private:
  /// On the stack of the thread that waits.
  struct Waiter {
    std::condition_variable wake;
    size_t lane = kNone;
    bool done = false;
    Waiter* next = nullptr;
  };

  void Forget(const Waiter& waiter);
  // With the lock.
  /// One waits.
  void AnswerFirst(size_t answer);
  void SendWaitersAway(size_t answer);

  std::mutex mutex_;  // guards all below
  std::condition_variable all_returned_;
  std::vector<size_t> free_;  // the one returned last is the warmest: it goes first
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  size_t count_;
  size_t late_ = 0;
  bool closed_ = false;
};

}  // namespace verdict
