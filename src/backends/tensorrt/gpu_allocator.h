#pragma once

#include <NvInfer.h>

#include <cstdint>
#include <map>
#include <mutex>

#include "backends/tensorrt/cuda_context.h"

namespace verdict::tensorrt {

/// TensorRT's device memory of one program: counted, and refused where a drill says so. Threads:
/// any.
class GpuAllocator final : public nvinfer1::IGpuAllocator {
 public:
  explicit GpuAllocator(CudaContext& context) : context_(context) {}

  void* allocate(uint64_t size, uint64_t alignment,
                 nvinfer1::AllocatorFlags flags) noexcept override;
  bool deallocate(void* memory) noexcept override;
#if NV_TENSORRT_MAJOR < 10
  void free(void* memory) noexcept override { deallocate(memory); }
#endif

  /// From now on there is no memory.
  void RefuseAll() { refuse_all_ = true; }
  uint64_t bytes() const;
  /// An allocation has failed since the allocator was made.
  bool failed() const { return failed_; }

 private:
  CudaContext& context_;
  mutable std::mutex mutex_;
  std::map<void*, uint64_t> sizes_;
  uint64_t bytes_ = 0;
  std::atomic<bool> refuse_all_ = false;
  std::atomic<bool> failed_ = false;
};

}  // namespace verdict::tensorrt
