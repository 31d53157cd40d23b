#include "backends/tensorrt/cuda_driver.h"

#include <dlfcn.h>
#include <link.h>
#include <cstdlib>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <system_error>
#include <type_traits>
#include <utility>

namespace verdict::tensorrt {
namespace {

constexpr char kInstallDriver[] =
    "install NVIDIA's driver (package nvidia-driver, or on a host of containers "
    "nvidia-container-toolkit and `--gpus all`), and see that `nvidia-smi` lists the card";

/// "580.159.04" out of the library's real name, or the kernel module's own word.
std::string DriverVersion(void* library) {
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr) {
    std::error_code error;
    const std::string file = std::filesystem::canonical(map->l_name, error).filename();
    const std::string prefix = "libcuda.so.";
    if (!error && file.starts_with(prefix) && file.find('.', prefix.size()) != std::string::npos) {
      return file.substr(prefix.size());
    }
  }
  std::ifstream proc("/proc/driver/nvidia/version");
  for (std::string word; proc >> word;) {
    if (word.size() >= 6 && word.find_first_not_of("0123456789.") == std::string::npos) return word;
  }
  return "";
}

}  // namespace

bool IsSticky(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_SYSTEM_NOT_READY:
    case CUDA_ERROR_UNKNOWN:
      return true;
    default:
      return false;
  }
}

Status CudaStatus(CUresult result, const std::string& what, const CudaDriver* driver) {
  if (result == CUDA_SUCCESS) return OkStatus();
  const char* name = nullptr;
  const char* text = nullptr;
  if (driver != nullptr && driver->cuGetErrorName != nullptr) {
    driver->cuGetErrorName(result, &name);
    driver->cuGetErrorString(result, &text);
  }
  std::string message = what + ": CUDA error " + std::to_string(result);
  if (name != nullptr) message += std::string(" ") + name;
  if (text != nullptr) message += std::string(" (") + text + ")";
  if (IsSticky(result)) return Unavailable(message + ": the device's context is lost");
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      return ResourceExhausted(message + ": free device memory, or load less");
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_NOT_INITIALIZED:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_DEVICE_NOT_LICENSED:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
    case CUDA_ERROR_OPERATING_SYSTEM:
      return Unavailable(message + ": " + kInstallDriver);
    case CUDA_ERROR_INVALID_DEVICE:
      return NotFound(message);
    default:
      return Internal(message);
  }
}

Result<CudaDriver> OpenCudaLibrary(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Unavailable(std::string("no CUDA driver: ") + dlerror() + "; " + kInstallDriver);
  }
  CudaDriver driver;
  std::string missing;
  const auto resolve = [&](const char* name, auto& function, bool required = true) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && required) missing += std::string(" ") + name;
  };
#define VERDICT_CUDA_RESOLVE(name) resolve(#name, driver.name);
  VERDICT_CUDA_FUNCTIONS(VERDICT_CUDA_RESOLVE)
#undef VERDICT_CUDA_RESOLVE
  resolve("cuCtxCreate_v2", driver.cuCtxCreate_v2);
  resolve("cuDeviceGetUuid_v2", driver.cuDeviceGetUuid, false);  // of a MIG instance, if it is one
  if (driver.cuDeviceGetUuid == nullptr) resolve("cuDeviceGetUuid", driver.cuDeviceGetUuid);
  resolve("cuStreamWriteValue32_v2", driver.cuStreamWriteValue32_v2, false);
  if (!missing.empty()) {
    dlclose(library);
    return Unavailable(std::string(path) + " lacks" + missing +
                       ": a driver of CUDA 11.4 or newer is needed; " + kInstallDriver);
  }
  // Kernels are loaded when they are first used, as newer toolkits do anyway: hundreds of megabytes
  // of the card's memory less. An operator's own setting stays.
  setenv("CUDA_MODULE_LOADING", "LAZY", 0);
  if (const CUresult result = driver.cuInit(0); result != CUDA_SUCCESS) {
    Status status = CudaStatus(result, "cuInit", &driver);
    if (status.code() == StatusCode::kUnavailable) return status;
    return Unavailable(status.message() + "; " + kInstallDriver);
  }
  driver.cuDriverGetVersion(&driver.version);
  driver.driver_version = DriverVersion(library);
  if (driver.driver_version.empty()) {
    driver.driver_version = "cuda " + std::to_string(driver.version / 1000) + "." +
                            std::to_string(driver.version % 1000 / 10);
  }
  return driver;
}

Result<const CudaDriver*> OpenCudaDriver() {
  // A failure is tried again the next time: somebody may install the driver meanwhile.
  static std::mutex mutex;
  static const CudaDriver* opened = nullptr;
  const std::lock_guard lock(mutex);
  if (opened == nullptr) {
    VERDICT_ASSIGN_OR_RETURN(CudaDriver driver, OpenCudaLibrary("libcuda.so.1"));
    opened = new CudaDriver(std::move(driver));  // for ever: threads may outlive static objects
  }
  return opened;
}

}  // namespace verdict::tensorrt
