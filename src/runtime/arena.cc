#include "runtime/arena.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "base/checked_math.h"

namespace verdict {

Arena::Block Arena::Allocate(size_t bytes) {
  if (bytes > static_cast<size_t>(PTRDIFF_MAX) - kAlignment) return nullptr;
  return Block(static_cast<std::byte*>(
      std::aligned_alloc(kAlignment, AlignUp(std::max<size_t>(bytes, 1), kAlignment))));
}

Status Arena::Reserve(size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (users_.empty() || bytes > bytes_) {
    Block block = Allocate(bytes);
    if (block == nullptr) {
      return ResourceExhausted("cannot get " + std::to_string(bytes) + " bytes of working memory");
    }
    next_ = std::move(block);
    bytes_ = bytes;
    moved_.store(true, std::memory_order_release);
  }
  users_.insert(bytes);
  return OkStatus();
}

void Arena::Release(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto user = users_.find(bytes);
  VERDICT_CHECK(user != users_.end());
  users_.erase(user);
  const size_t needed = users_.empty() ? 0 : *users_.rbegin();
  // Half is not worth a move.
  if (!users_.empty() && needed > bytes_ / 2) return;
  Block block;
  if (!users_.empty() && (block = Allocate(needed)) == nullptr) return;
  next_ = std::move(block);
  bytes_ = needed;
  moved_.store(true, std::memory_order_release);
}

void Arena::Move() {
  Block old;
  const std::lock_guard lock(mutex_);
  old = std::exchange(current_, std::move(next_));
  moved_.store(false, std::memory_order_relaxed);
}

}  // namespace verdict
