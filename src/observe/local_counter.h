#pragma once

#include <atomic>
#include <cstdint>

namespace verdict {

/// A counter that one thread adds to and any thread reads. Adding is a plain load and store: no
/// locked instruction on the request's way. Counters of several threads are summed at the scrape.
class LocalCounter {
 public:
  void Add(uint64_t amount) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void Set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace verdict
