#include "runtime/lane_pool.h"

namespace verdict {

LanePool::LanePool(size_t count) : count_(count) {
  for (size_t lane = count; lane-- > 0;) free_.push_back(lane);
}

size_t LanePool::Borrow() {
  std::unique_lock lock(mutex_);
  if (closed_) return kClosed;
  if (!free_.empty()) {
    const size_t lane = free_.back();
    free_.pop_back();
    return lane;
  }
  Waiter waiter;
  (last_ == nullptr ? first_ : last_->next) = &waiter;
  last_ = &waiter;
  waiter.wake.wait(lock, [&] { return waiter.done; });
  return waiter.lane;
}

void LanePool::Return(size_t lane) {
  std::lock_guard lock(mutex_);
  if (first_ == nullptr) {
    free_.push_back(lane);
    if (closed_ && free_.size() == count_) all_returned_.notify_all();
    return;
  }
  Waiter& waiter = *first_;
  first_ = waiter.next;
  if (first_ == nullptr) last_ = nullptr;
  waiter.lane = lane;
  waiter.done = true;
  waiter.wake.notify_one();  // under the lock: the waiter may be gone after it
}

void LanePool::Close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  while (first_ != nullptr) {
    Waiter& waiter = *first_;
    first_ = waiter.next;
    waiter.done = true;
    waiter.wake.notify_one();
  }
  last_ = nullptr;
  all_returned_.wait(lock, [this] { return free_.size() == count_; });
}

}  // namespace verdict
