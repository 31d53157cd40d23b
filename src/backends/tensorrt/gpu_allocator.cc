#include "backends/tensorrt/gpu_allocator.h"

namespace verdict::tensorrt {

void* GpuAllocator::allocate(uint64_t size, uint64_t /*alignment*/,
                             nvinfer1::AllocatorFlags /*flags*/) noexcept {
  if (size == 0) return nullptr;  // as TensorRT asks for it
  CUdeviceptr address = 0;        // aligned to 256 bytes or more, which is what TensorRT wants
  if (refuse_all_ || !context_.MakeCurrent().ok() ||
      !context_.Check(context_.driver().cuMemAlloc_v2(&address, size), "TensorRT's memory").ok()) {
    failed_ = true;
    return nullptr;
  }
  void* memory = reinterpret_cast<void*>(address);
  try {
    const std::lock_guard lock(mutex_);
    sizes_.emplace(memory, size);
    bytes_ += size;
  } catch (...) {  // no host memory for the books
    context_.driver().cuMemFree_v2(address);
    failed_ = true;
    return nullptr;
  }
  return memory;
}

bool GpuAllocator::deallocate(void* memory) noexcept {
  if (memory == nullptr) return true;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(memory);
    if (found == sizes_.end()) return false;
    bytes_ -= found->second;
    sizes_.erase(found);
  }
  // Memory of a lost context goes with it.
  if (!context_.MakeCurrent().ok()) return true;
  return context_.driver().cuMemFree_v2(reinterpret_cast<CUdeviceptr>(memory)) == CUDA_SUCCESS;
}

uint64_t GpuAllocator::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace verdict::tensorrt
