#include "serve/routing/breaker.h"

#include <algorithm>

namespace verdict {

using std::chrono::milliseconds;

bool Breaker::Allow(Clock::time_point now) {
  if (state() == State::kClosed) return true;
  const std::lock_guard lock(mutex_);
  switch (state()) {
    case State::kClosed:
      return true;
    case State::kOpen:
      if (now < probe_at_) return false;
      state_.store(State::kHalfOpen);
      probes_succeeded_ = 0;
      probing_ = true;
      return true;
    case State::kHalfOpen:
      break;
  }
  if (probing_) return false;
  probing_ = true;
  return true;
}

bool Breaker::CanAllow(Clock::time_point now) const {
  if (state() == State::kClosed) return true;
  const std::lock_guard lock(mutex_);
  return state() != State::kOpen || now >= probe_at_;
}

void Breaker::Succeed(Clock::time_point) {
  if (state() == State::kClosed) {
    if (failures_in_row_.load(std::memory_order_relaxed) != 0) failures_in_row_.store(0);
    succeeded_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (state() != State::kHalfOpen) return;  // it began before the breaker opened
  probing_ = false;
  if (++probes_succeeded_ < options_.probes) return;
  failures_in_row_.store(0);
  succeeded_.store(0);
  failed_ = 0;
  open_ms_ = 0;
  state_.store(State::kClosed);
}

void Breaker::Fail(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (state() == State::kOpen) return;
  if (state() == State::kHalfOpen) return Open(now);
  if (now - window_begin_ > milliseconds(options_.window_ms)) {
    window_begin_ = now;
    failed_ = 0;
    succeeded_.store(0);
  }
  ++failed_;
  const uint64_t all = failed_ + succeeded_.load(std::memory_order_relaxed);
  const bool share =
      all >= options_.min_requests &&
      static_cast<double>(failed_) >= options_.failure_share * static_cast<double>(all);
  if (failures_in_row_.fetch_add(1) + 1 >= options_.failures_in_row || share) Open(now);
}

void Breaker::Drop() {
  if (state() == State::kClosed) return;
  const std::lock_guard lock(mutex_);
  if (state() == State::kHalfOpen) probing_ = false;
}

void Breaker::Open(Clock::time_point now) {
  open_ms_ = open_ms_ == 0 ? options_.open_ms : std::min(2 * open_ms_, options_.max_open_ms);
  probe_at_ = now + milliseconds(open_ms_);
  probing_ = false;
  failures_in_row_.store(0);
  opened_.fetch_add(1, std::memory_order_relaxed);
  state_.store(State::kOpen);
}

}  // namespace verdict
