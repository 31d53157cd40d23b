#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "backends/device/device.h"
#include "backends/tensorrt/cuda_driver.h"

namespace verdict::tensorrt {

/// A CUDA context of our own on one card, and whether it is lost. TensorRT's runtime API works in
/// whichever context the thread has made current, so that ending this one ends all that TensorRT
/// has on the card. TensorRT does not outlive it: a lost one comes back with a new process alone.
/// Threads: any.
class CudaContext {
 public:
  /// stack_bytes: of each of the card's threads; 0: the driver's own. Errors: kNotFound: no device
  /// of that index; kUnavailable; kResourceExhausted.
  static Result<std::unique_ptr<CudaContext>> Open(const CudaDriver& driver, int index,
                                                   uint64_t stack_bytes = 0);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  const CudaDriver& driver() const { return driver_; }
  /// Values of CU_DEVICE_ATTRIBUTE_…; 0 where the driver does not know it.
  int Attribute(CUdevice_attribute attribute) const;
  CUdevice device() const { return device_; }
  int sm() const { return sm_; }  // 90 for compute capability 9.0
  std::string Name() const;
  std::string Uuid() const;  // "GPU-…"; empty if it cannot be told
  Result<DeviceMemory> Memory();

  /// Makes the context the calling thread's. Every entry point begins with it. Errors:
  /// kUnavailable: the context is lost. Cost: some 50 ns.
  Status MakeCurrent();

  /// The result of a call as a status; sticky errors lose the context for everybody.
  Status Check(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS) [[likely]]
      return OkStatus();
    return Failed(result, what);
  }
  void MarkLost(const Status& why);
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  Status LostStatus() const;

  /// For drills; the card fails as soon as this returns. Errors: as CUDA's.
  Status Trap();
  Status Hang();

 private:
  CudaContext(const CudaDriver& driver, CUdevice device) : driver_(driver), device_(device) {}
  Status Create(uint64_t stack_bytes);
  Result<CUfunction> DrillKernel(const char* name);
  Status Failed(CUresult result, const char* what);

  const CudaDriver& driver_;
  CUdevice device_;
  int sm_ = 0;
  CUcontext context_ = nullptr;
  CUmodule drill_module_ = nullptr;
  volatile uint32_t* hang_flag_ = nullptr;  // pinned; not 0 ends a drill's hang
  std::atomic<bool> lost_ = false;
  mutable std::mutex mutex_;  // guards why_
  Status why_;
};

/// Device memory, freed with the object; memory of a lost context goes with the context. The
/// context must be the thread's when it is made.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  static Result<DeviceBuffer> Allocate(CudaContext& context, size_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  CUdeviceptr address() const { return address_; }
  size_t bytes() const { return bytes_; }

 private:
  CudaContext* context_ = nullptr;
  CUdeviceptr address_ = 0;
  size_t bytes_ = 0;
};

/// Page-locked host memory that the card reads and writes, filled with zeros; as DeviceBuffer.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static Result<PinnedBuffer> Allocate(CudaContext& context, size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer();

  std::byte* data() const { return data_; }
  CUdeviceptr address() const { return address_; }  // the same memory, as the card sees it
  size_t bytes() const { return bytes_; }

 private:
  CudaContext* context_ = nullptr;
  std::byte* data_ = nullptr;
  CUdeviceptr address_ = 0;
  size_t bytes_ = 0;
};

/// Memory of somebody else, page-locked for as long as this lives: the card reads it where it is.
class PinnedRange {
 public:
  PinnedRange() = default;
  /// Errors: as CUDA's, which takes not every kind of memory.
  static Result<PinnedRange> Pin(CudaContext& context, std::span<std::byte> memory);
  PinnedRange(PinnedRange&& other) noexcept { *this = std::move(other); }
  PinnedRange& operator=(PinnedRange&& other) noexcept;
  ~PinnedRange();

  bool Holds(const void* data, size_t bytes) const;

 private:
  CudaContext* context_ = nullptr;
  std::span<std::byte> memory_;
};

}  // namespace verdict::tensorrt
