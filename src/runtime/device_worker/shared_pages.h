#pragma once

#include <cstddef>

#include "runtime/device_worker/channel.h"

namespace verdict {

/// Memory that two processes read and write. Its size is sealed, so that neither can cut it under
/// the other.
class SharedPages {
 public:
  SharedPages() = default;
  ~SharedPages();
  SharedPages(SharedPages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SharedPages& operator=(SharedPages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  /// Zeros, and the file to send to the other process. Pages take memory once they are touched.
  /// Errors: kResourceExhausted.
  static Result<std::pair<SharedPages, Descriptor>> Create(size_t bytes);
  /// Errors: kDataLoss: not such a file, or of another size; kResourceExhausted.
  static Result<SharedPages> Map(const Descriptor& file, size_t bytes);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  SharedPages(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace verdict
