#include "serve/http/body_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/checked_math.h"
#include "serve/endpoints/infer_request.h"

namespace verdict {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstBytes = 4096;
constexpr size_t kMostAhead = 4;  // times what has arrived, of what a header claims

/// What memory of that size takes from the budget.
size_t Charge(size_t capacity) { return capacity <= kFreeBodyBytes ? 0 : capacity; }

}  // namespace

void BodyBuffer::Free::operator()(char* memory) const { std::free(memory); }

void BodyBuffer::Start(size_t aligned_at, size_t claimed) {
  offset_ = (kAlignment - aligned_at % kAlignment) % kAlignment;
  size_ = 0;
  claimed_ = claimed;
}

bool BodyBuffer::Append(std::string_view bytes) {
  const size_t needed = offset_ + size_ + bytes.size() + kJsonPadding;
  if (needed > capacity_ && !Grow(needed)) return false;
  if (!bytes.empty()) std::memcpy(memory_.get() + offset_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  return true;
}

bool BodyBuffer::Grow(size_t wanted) {
  const size_t around = offset_ + kJsonPadding;
  const size_t next = wanted - around <= claimed_ ? std::min(claimed_, kMostAhead * wanted) + around
                                                  : capacity_ + capacity_ / 2;
  size_t capacity = AlignUp(std::max({wanted, next, kFirstBytes}), kAlignment);
  if (wanted <= kFreeBodyBytes) capacity = std::min(capacity, kFreeBodyBytes);
  if (!budget_.Take(Charge(capacity))) return false;
  std::unique_ptr<char, Free> memory(static_cast<char*>(std::aligned_alloc(kAlignment, capacity)));
  if (memory == nullptr) {
    budget_.Return(Charge(capacity));
    return false;
  }
  if (size_ > 0) std::memcpy(memory.get() + offset_, memory_.get() + offset_, size_);
  // The JSON parser reads over the end: what it sees there must not be uninitialised.
  std::memset(memory.get() + capacity - kJsonPadding, 0, kJsonPadding);
  budget_.Return(Charge(capacity_));
  memory_ = std::move(memory);
  capacity_ = capacity;
  return true;
}

void BodyBuffer::Reset() {
  offset_ = 0;
  size_ = 0;
  if (capacity_ > kFreeBodyBytes) Release();
}

void BodyBuffer::Release() {
  budget_.Return(Charge(capacity_));
  memory_.reset();
  capacity_ = 0;
  offset_ = 0;
  size_ = 0;
}

}  // namespace verdict
