#pragma once

#include <algorithm>
#include <chrono>

namespace verdict {

/// Keeps handshakes, which cost a hundred times what a request does, to a share of a thread's time:
/// a flood of new clients must not stop those that are served already. Threads: its thread's own.
class HandshakeBudget {
 public:
  using Clock = std::chrono::steady_clock;

  /// True if a step of a handshake may run now. Else there is time again after a few milliseconds.
  bool Allows(Clock::time_point now) {
    credit_ = std::min(kMost, credit_ + (now - refilled_) / kShare);
    refilled_ = now;
    return credit_.count() > 0;
  }
  /// A step took so long; what it took too much the next ones wait for.
  void Spend(Clock::duration time) { credit_ -= time; }

 private:
  static constexpr int kShare = 2;  // one half
  static constexpr Clock::duration kMost = std::chrono::milliseconds(50);
  Clock::duration credit_ = kMost;
  Clock::time_point refilled_;
};

}  // namespace verdict
