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

Result<std::unique_ptr<CudaContext>> CudaContext::Open(const CudaDriver& driver, int index) {
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
  VERDICT_RETURN_IF_ERROR(context->Create());
  return context;
}

CudaContext::~CudaContext() {
  if (hang_flag_ != nullptr) *hang_flag_ = 1;
  Destroy();
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
  return Unavailable("the device is lost until it has been recovered; it was lost by: " +
                     why_.message());
}

Status CudaContext::Create() {
  // Spinning is ours to decide, run by run; blocking waits sleep.
  VERDICT_RETURN_IF_ERROR(CudaStatus(
      driver_.cuCtxCreate_v2(&context_, CU_CTX_SCHED_BLOCKING_SYNC | CU_CTX_MAP_HOST, device_),
      "making a context", &driver_));
  return CudaStatus(driver_.cuCtxSetCurrent(context_), "making the context current", &driver_);
}

void CudaContext::Destroy() {
  if (context_ == nullptr) return;
  driver_.cuCtxSetCurrent(context_);
  driver_.cuCtxDestroy_v2(context_);  // of a lost context it says so again, and ends it
  driver_.cuCtxSetCurrent(nullptr);
  context_ = nullptr;
  drill_module_ = nullptr;
  hang_flag_ = nullptr;
}

Status CudaContext::Recreate() {
  Destroy();
  Status status = Create();
  if (status.ok()) status = Probe();
  if (!status.ok()) {
    const Status why = Unavailable("the device does not come back: " + status.message() +
                                   "; restart the process, and see what `nvidia-smi` says");
    MarkLost(why);
    return why;
  }
  const std::lock_guard lock(mutex_);
  why_ = OkStatus();
  lost_.store(false, std::memory_order_release);
  return OkStatus();
}

Status CudaContext::Probe() {
  const auto check = [&](CUresult result, const char* what) {
    return CudaStatus(result, what, &driver_);
  };
  CUdeviceptr address = 0;
  VERDICT_RETURN_IF_ERROR(check(driver_.cuMemAlloc_v2(&address, kLeastBytes), "allocating"));
  const uint32_t sent = 41;
  uint32_t received = 0;
  Status status = check(driver_.cuMemcpyHtoD_v2(address, &sent, sizeof(sent)), "copying there");
  if (status.ok()) {
    auto kernel = DrillKernel("verdict_probe");
    status = kernel.status();
    if (kernel.ok()) {
      void* arguments[] = {&address};
      status =
          check(driver_.cuLaunchKernel(*kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, arguments, nullptr),
                "launching a kernel");
    }
  }
  if (status.ok()) {
    status = check(driver_.cuMemcpyDtoHAsync_v2(&received, address, sizeof(received), nullptr),
                   "copying back");
  }
  if (status.ok()) status = check(driver_.cuStreamSynchronize(nullptr), "waiting for a kernel");
  driver_.cuMemFree_v2(address);
  if (status.ok() && received != sent + 1) {
    status = Unavailable("a kernel was to make 42 of 41 and made " + std::to_string(received));
  }
  return status;
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

}  // namespace verdict::tensorrt
