#include "runtime/lane_pool.h"

#include <utility>

namespace verdict {

LanePool::LanePool(size_t count) : count_(count) {
  for (size_t lane = count; lane-- > 0;) free_.push_back(lane);
}

size_t LanePool::Borrow(Clock::time_point until) {
  const bool patient = until == Clock::time_point::max();
  std::unique_lock lock(mutex_);
  if (closed_) return kClosed;
  if (!free_.empty()) {
    const size_t lane = free_.back();
    free_.pop_back();
    return lane;
  }
  if (late_ == count_) return kNone;
  Waiter waiter;
  (last_ == nullptr ? first_ : last_->next) = &waiter;
  last_ = &waiter;
  const auto done = [&] { return waiter.done; };
  if (patient) {
    waiter.wake.wait(lock, done);
  } else if (!waiter.wake.wait_until(lock, until, done)) {
    Forget(waiter);
    return kNone;
  }
  return waiter.lane;
}

void LanePool::Forget(const Waiter& waiter) {
  Waiter* before = nullptr;
  Waiter* found = first_;
  while (found != &waiter) before = std::exchange(found, found->next);
  (before == nullptr ? first_ : before->next) = waiter.next;
  if (last_ == &waiter) last_ = before;
}

void LanePool::SetLate() {
  std::lock_guard lock(mutex_);
  if (++late_ == count_) SendWaitersAway(kNone);
}

void LanePool::AnswerFirst(size_t answer) {
  Waiter& waiter = *first_;
  first_ = waiter.next;
  if (first_ == nullptr) last_ = nullptr;
  waiter.lane = answer;
  waiter.done = true;
  waiter.wake.notify_one();  // under the lock: the waiter may be gone after it
}

void LanePool::SendWaitersAway(size_t answer) {
  while (first_ != nullptr) AnswerFirst(answer);
}

void LanePool::Return(size_t lane, bool late) {
  std::lock_guard lock(mutex_);
  if (late) --late_;
  if (first_ != nullptr) return AnswerFirst(lane);
  free_.push_back(lane);
  if (closed_ && free_.size() == count_) all_returned_.notify_all();
}

void LanePool::Close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  SendWaitersAway(kClosed);
  all_returned_.wait(lock, [this] { return free_.size() == count_; });
}

}  // namespace verdict
