#include "runtime/device_worker/run_board.h"

#include <bit>
#include <chrono>

#include "runtime/device_worker/futex.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

// Who announces sets the bit, and then looks whether anybody is watching; who stops watching says
// so, and then looks at the bits once more. All in one order (seq_cst), so that one of the two sees
// the other.

void RunBoard::Post(uint32_t slot) {
  pending_[slot / 64].fetch_or(uint64_t{1} << (slot % 64));
  posted_.fetch_add(1);
  if (spinning_.load() == 0 && sleeping_.load() > 0) FutexWake(posted_, 1);
}

std::optional<uint32_t> RunBoard::TryTake() {
  for (uint32_t word = 0; word < pending_.size(); ++word) {
    uint64_t bits = pending_[word].load();
    while (bits != 0) {
      const auto bit = static_cast<uint32_t>(std::countr_zero(bits));
      const uint64_t mask = uint64_t{1} << bit;
      bits &= ~mask;
      if ((pending_[word].fetch_and(~mask) & mask) != 0) return word * 64 + bit;
    }
  }
  return std::nullopt;
}

bool RunBoard::AnyPending() const {
  for (const std::atomic<uint64_t>& word : pending_) {
    if (word.load() != 0) return true;
  }
  return false;
}

bool RunBoard::StartSpinning(uint32_t spinners) {
  uint32_t now = spinning_.load();
  while (now < spinners) {
    if (spinning_.compare_exchange_weak(now, now + 1)) return true;
  }
  return false;
}

void RunBoard::End() {
  ended_.store(1);
  posted_.fetch_add(1);
  FutexWake(posted_, INT32_MAX);
}

std::optional<uint32_t> RunBoard::Take(const Watch& watch) {
  while (ended_.load() == 0) {
    if (watch.spin_us > 0 && StartSpinning(watch.spinners)) {
      std::optional<uint32_t> taken;
      uint32_t seen = ~posted_.load();
      Clock::time_point since;
      for (uint32_t looks = 0; !taken; ++looks) {
        if (const uint32_t now = posted_.load(); now != seen) {
          seen = now;
          since = Clock::now();
          taken = TryTake();
          if (ended_.load() != 0) break;
          continue;
        }
        SpinPause();
        if (looks % kLooksPerClock != 0) continue;
        if (watch.spin_us != kForever &&
            Clock::now() - since > std::chrono::microseconds(watch.spin_us)) {
          break;
        }
        SpinYield();
      }
      spinning_.fetch_sub(1);
      if (taken) {
        if (spinning_.load() == 0 && AnyPending()) FutexWake(posted_, 1);
        return taken;
      }
    }
    const uint32_t seen = posted_.load();
    if (ended_.load() != 0) break;  // said before the last count
    sleeping_.fetch_add(1);
    auto taken = TryTake();
    if (!taken) FutexWait(posted_, seen, std::nullopt);
    sleeping_.fetch_sub(1);
    if (!taken) taken = TryTake();
    if (taken) return taken;
  }
  return std::nullopt;
}

}  // namespace verdict
