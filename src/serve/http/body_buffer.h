#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "serve/memory_budget.h"

namespace verdict {

/// A body's memory up to this size is free of the budget, so that clients who use it up leave room
/// for small requests, and is kept between requests. The number of connections bounds it.
inline constexpr size_t kFreeBodyBytes = size_t{16} << 10;

/// A request's body. Grows as bytes arrive, to no more than four times those, whatever a header
/// claims; readable padding for the JSON parser follows the last byte. Its memory over
/// kFreeBodyBytes is taken from a budget.
class BodyBuffer {
 public:
  explicit BodyBuffer(MemoryBudget& budget) : budget_(budget) {}
  ~BodyBuffer() { Release(); }
  BodyBuffer(const BodyBuffer&) = delete;
  BodyBuffer& operator=(const BodyBuffer&) = delete;

  /// Empties it. `aligned_at`: the byte of the body that is to lie on a 64-byte boundary (where the
  /// raw tensors begin, so that they can be used in place). `claimed`: its size as a header has it;
  /// 0: unknown.
  void Start(size_t aligned_at, size_t claimed = 0);
  /// False if the budget or the memory is used up.
  bool Append(std::string_view bytes);
  /// Empties it and keeps no more than a little memory.
  void Reset();

  std::string_view text() const {
    if (size_ == 0) return {};  // there may be no memory to point into
    return {memory_.get() + offset_, size_};
  }
  size_t size() const { return size_; }
  MemoryBudget& budget() const { return budget_; }

 private:
  bool Grow(size_t wanted);
  void Release();
  struct Free {
    void operator()(char* memory) const;
  };
  MemoryBudget& budget_;
  std::unique_ptr<char, Free> memory_;
  size_t capacity_ = 0;  // of memory_, padding included
  size_t offset_ = 0;    // of the body's first byte
  size_t size_ = 0;
  size_t claimed_ = 0;
};

}  // namespace verdict
