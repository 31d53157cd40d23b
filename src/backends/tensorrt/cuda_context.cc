#include "backends/tensorrt/cuda_context.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "backends/tensorrt/drill_kernels.h"

namespace verdict::tensorrt {
namespace {

// Nothing is allocated in zero bytes.
constexpr size_t kLeastBytes = 256;

}  // namespace

Result<std::unique_ptr<CudaContext>> CudaContext::Open(const CudaDriver& driver, int index,
                                                       uint64_t stack_bytes) {
  int count = 0;
  VERDICT_RETURN_IF_ERROR(CudaStatus(driver.cuDeviceGetCount(&count), "counting devices", &driver));
  if (count == 0) return Unavailable("the CUDA driver finds no device; see that `nvidia-smi` does");
  if (index < 0 || index >= count) {
    return NotFound("there is no CUDA device " + std::to_string(index) + ", there are " +
                    std::to_string(count) + ", counted from 0");
  }
  CUdevice device = 0;
  VERDICT_RETURN_IF_ERROR(
      CudaStatus(driver.cuDeviceGet(&device, index), "finding the device", &driver));
  std::unique_ptr<CudaContext> context(new CudaContext(driver, device));
  context->sm_ = context->Attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                 context->Attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  VERDICT_RETURN_IF_ERROR(context->Create(stack_bytes));
  return context;
}

CudaContext::~CudaContext() {
  if (hang_flag_ != nullptr) *hang_flag_ = 1;
  if (context_ == nullptr) return;
  driver_.cuCtxSetCurrent(context_);
  driver_.cuCtxDestroy_v2(context_);  // of a lost context it says so again, and ends it
  driver_.cuCtxSetCurrent(nullptr);
}

int CudaContext::Attribute(CUdevice_attribute attribute) const {
  int value = 0;
  return driver_.cuDeviceGetAttribute(&value, attribute, device_) == CUDA_SUCCESS ? value : 0;
}

std::string CudaContext::Name() const {
  std::array<char, 256> name{};
  driver_.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device_);
  return name.data();
}

std::string CudaContext::Uuid() const {
  CUuuid uuid{};
  if (driver_.cuDeviceGetUuid == nullptr ||
      driver_.cuDeviceGetUuid(&uuid, device_) != CUDA_SUCCESS) {
    return "";
  }
  std::string text = "GPU-";
  for (size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += hex.data();
  }
  return text;
}

Result<DeviceMemory> CudaContext::Memory() {
  VERDICT_RETURN_IF_ERROR(MakeCurrent());
  size_t free_bytes = 0, total_bytes = 0;
  VERDICT_RETURN_IF_ERROR(
      Check(driver_.cuMemGetInfo_v2(&free_bytes, &total_bytes), "asking for free memory"));
  return DeviceMemory{free_bytes, total_bytes};
}

Status CudaContext::MakeCurrent() {
  if (lost()) [[unlikely]]
    return LostStatus();
  return Check(driver_.cuCtxSetCurrent(context_), "making the context current");
}

Status CudaContext::Failed(CUresult result, const char* what) {
  Status status = CudaStatus(result, what, &driver_);
  if (IsSticky(result)) MarkLost(status);
  return status;
}

void CudaContext::MarkLost(const Status& why) {
  const std::lock_guard lock(mutex_);
  if (lost_.load(std::memory_order_relaxed)) return;
  why_ = why;
  lost_.store(true, std::memory_order_release);
}

Status CudaContext::LostStatus() const {
  const std::lock_guard lock(mutex_);
  return Unavailable("the device is lost for this process; it was lost by: " + why_.message());
}

Status CudaContext::Create(uint64_t stack_bytes) {
  // Spinning is ours to decide, run by run; blocking waits sleep.
  VERDICT_RETURN_IF_ERROR(CudaStatus(
      driver_.cuCtxCreate_v2(&context_, CU_CTX_SCHED_BLOCKING_SYNC | CU_CTX_MAP_HOST, device_),
      "making a context", &driver_));
  VERDICT_RETURN_IF_ERROR(
      CudaStatus(driver_.cuCtxSetCurrent(context_), "making the context current", &driver_));
  if (stack_bytes == 0) return OkStatus();
  return CudaStatus(driver_.cuCtxSetLimit(CU_LIMIT_STACK_SIZE, stack_bytes),
                    "setting the size of stacks", &driver_);
}

Result<CUfunction> CudaContext::DrillKernel(const char* name) {
  if (drill_module_ == nullptr) {
    VERDICT_RETURN_IF_ERROR(CudaStatus(
        driver_.cuModuleLoadData(&drill_module_, kDrillKernels),
        "compiling a kernel (libnvidia-ptxjitcompiler comes with the driver)", &driver_));
  }
  CUfunction function = nullptr;
  VERDICT_RETURN_IF_ERROR(CudaStatus(driver_.cuModuleGetFunction(&function, drill_module_, name),
                                     "finding a kernel", &driver_));
  return function;
}

Status CudaContext::Trap() {
  VERDICT_RETURN_IF_ERROR(MakeCurrent());
  VERDICT_ASSIGN_OR_RETURN(const CUfunction kernel, DrillKernel("verdict_trap"));
  VERDICT_RETURN_IF_ERROR(
      CudaStatus(driver_.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr),
                 "launching the trap", &driver_));
  // Who uses the device next finds out, as with hardware; here we only wait until it has happened.
  driver_.cuStreamSynchronize(nullptr);
  return OkStatus();
}

Status CudaContext::Hang() {
  VERDICT_RETURN_IF_ERROR(MakeCurrent());
  VERDICT_ASSIGN_OR_RETURN(const CUfunction kernel, DrillKernel("verdict_hang"));
  void* flag = nullptr;
  CUdeviceptr flag_address = 0;
  VERDICT_RETURN_IF_ERROR(
      CudaStatus(driver_.cuMemHostAlloc(&flag, kLeastBytes,
                                        CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE),
                 "allocating a flag", &driver_));
  VERDICT_RETURN_IF_ERROR(
      CudaStatus(driver_.cuMemHostGetDevicePointer_v2(&flag_address, flag, 0), "a flag", &driver_));
  hang_flag_ = static_cast<volatile uint32_t*>(flag);  // goes with the context
  *hang_flag_ = 0;
  // All places of all multiprocessors, so that nothing else runs meanwhile.
  const int blocks = std::max(1, Attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) *
                                     Attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) /
                                     static_cast<int>(kHangBlockThreads));
  CUstream stream = nullptr;
  VERDICT_RETURN_IF_ERROR(CudaStatus(driver_.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING),
                                     "making a stream", &driver_));
  uint64_t nanoseconds = kHangNanoseconds;
  void* arguments[] = {&flag_address, &nanoseconds};
  return CudaStatus(driver_.cuLaunchKernel(kernel, static_cast<unsigned>(blocks), 1, 1,
                                           kHangBlockThreads, 1, 1, 0, stream, arguments, nullptr),
                    "launching the kernel that hangs", &driver_);
}

Result<DeviceBuffer> DeviceBuffer::Allocate(CudaContext& context, size_t bytes) {
  DeviceBuffer buffer;
  buffer.bytes_ = std::max(bytes, kLeastBytes);
  VERDICT_RETURN_IF_ERROR(context.Check(
      context.driver().cuMemAlloc_v2(&buffer.address_, buffer.bytes_), "allocating device memory"));
  buffer.context_ = &context;
  return buffer;
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  // Freeing waits for the card, which a lost one never ends.
  if (context_ == nullptr || !context_->MakeCurrent().ok()) return;
  context_->driver().cuMemFree_v2(address_);
}

Result<PinnedBuffer> PinnedBuffer::Allocate(CudaContext& context, size_t bytes) {
  PinnedBuffer buffer;
  buffer.bytes_ = std::max(bytes, kLeastBytes);
  void* data = nullptr;
  VERDICT_RETURN_IF_ERROR(
      context.Check(context.driver().cuMemHostAlloc(
                        &data, buffer.bytes_, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE),
                    "allocating pinned memory"));
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.context_ = &context;
  std::memset(buffer.data_, 0, buffer.bytes_);
  VERDICT_RETURN_IF_ERROR(
      context.Check(context.driver().cuMemHostGetDevicePointer_v2(&buffer.address_, data, 0),
                    "mapping pinned memory"));
  return buffer;
}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(data_, other.data_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::~PinnedBuffer() {
  if (context_ == nullptr || !context_->MakeCurrent().ok()) return;
  context_->driver().cuMemFreeHost(data_);
}

Result<PinnedRange> PinnedRange::Pin(CudaContext& context, std::span<std::byte> memory) {
  VERDICT_RETURN_IF_ERROR(
      context.Check(context.driver().cuMemHostRegister_v2(memory.data(), memory.size(),
                                                          CU_MEMHOSTREGISTER_PORTABLE),
                    "pinning the caller's memory"));
  PinnedRange range;
  range.context_ = &context;
  range.memory_ = memory;
  return range;
}

PinnedRange& PinnedRange::operator=(PinnedRange&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(memory_, other.memory_);
  return *this;
}

PinnedRange::~PinnedRange() {
  if (context_ == nullptr || !context_->MakeCurrent().ok()) return;
  context_->driver().cuMemHostUnregister(memory_.data());
}

bool PinnedRange::Holds(const void* data, size_t bytes) const {
  const auto from = reinterpret_cast<uintptr_t>(data);
  const auto begin = reinterpret_cast<uintptr_t>(memory_.data());
  return from >= begin && from - begin <= memory_.size() &&
         bytes <= memory_.size() - (from - begin);
}

}  // namespace verdict::tensorrt
