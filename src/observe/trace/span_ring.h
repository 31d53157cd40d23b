#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "observe/trace/span_record.h"

namespace verdict {

/// A SpanRecord that owns its texts.
struct StoredSpan {
  SpanRecord record;  // its texts are empty: see below
  std::string tracestate, model, version;

  /// Keeps the memory that the texts have.
  void Assign(const SpanRecord& from) {
    record = from;
    tracestate.assign(from.tracestate);
    model.assign(from.model);
    version.assign(from.version);
    record.tracestate = record.model = record.version = {};
  }
};

/// Bounded queue of spans from one thread to one other; neither ever waits. Texts keep their
/// memory, so that in the long run nothing is allocated.
class SpanRing {
 public:
  static constexpr size_t kCapacity = 1024;

  SpanRing() : spans_(kCapacity) {}

  /// Returns: false if it is full. Threads: the producer.
  bool Push(const SpanRecord& record) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kCapacity) return false;
    spans_[head % kCapacity].Assign(record);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  /// Moves the oldest to *span. Returns: false if there is none. Threads: the consumer.
  bool Pop(StoredSpan* span) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_.load(std::memory_order_acquire)) return false;
    *span = spans_[tail % kCapacity];
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

 private:
  std::vector<StoredSpan> spans_;
  alignas(64) std::atomic<size_t> head_{0};  // written by the producer
  alignas(64) std::atomic<size_t> tail_{0};  // written by the consumer
};

}  // namespace verdict
