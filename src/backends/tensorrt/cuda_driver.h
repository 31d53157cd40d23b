#pragma once

#include <cuda.h>

#include <string>

#include "base/status.h"

namespace verdict::tensorrt {

// cuda.h's macros name the version that its own CUDA has; these names stay the same from CUDA 11 to
// 13, as do their types. Those whose type cuda.h does not always declare are written out below.
#define VERDICT_CUDA_FUNCTIONS(X)  \
  X(cuInit)                        \
  X(cuDriverGetVersion)            \
  X(cuGetErrorName)                \
  X(cuGetErrorString)              \
  X(cuDeviceGet)                   \
  X(cuDeviceGetCount)              \
  X(cuDeviceGetName)               \
  X(cuDeviceGetAttribute)          \
  X(cuDeviceTotalMem_v2)           \
  X(cuCtxDestroy_v2)               \
  X(cuCtxSetCurrent)               \
  X(cuCtxSetLimit)                 \
  X(cuMemGetInfo_v2)               \
  X(cuMemAlloc_v2)                 \
  X(cuMemFree_v2)                  \
  X(cuMemHostAlloc)                \
  X(cuMemFreeHost)                 \
  X(cuMemHostGetDevicePointer_v2)  \
  X(cuMemHostRegister_v2)          \
  X(cuMemHostUnregister)           \
  X(cuMemGetAllocationGranularity) \
  X(cuMemAddressReserve)           \
  X(cuMemAddressFree)              \
  X(cuMemCreate)                   \
  X(cuMemRelease)                  \
  X(cuMemMap)                      \
  X(cuMemUnmap)                    \
  X(cuMemSetAccess)                \
  X(cuMemcpyHtoD_v2)               \
  X(cuMemcpyHtoDAsync_v2)          \
  X(cuMemcpyDtoHAsync_v2)          \
  X(cuStreamCreate)                \
  X(cuStreamDestroy_v2)            \
  X(cuStreamQuery)                 \
  X(cuStreamSynchronize)           \
  X(cuStreamWaitEvent)             \
  X(cuEventCreate)                 \
  X(cuEventRecord)                 \
  X(cuEventDestroy_v2)             \
  X(cuStreamBeginCapture_v2)       \
  X(cuStreamEndCapture)            \
  X(cuGraphInstantiateWithFlags)   \
  X(cuGraphLaunch)                 \
  X(cuGraphExecDestroy)            \
  X(cuGraphDestroy)                \
  X(cuModuleLoadData)              \
  X(cuModuleGetFunction)           \
  X(cuModuleUnload)                \
  X(cuLaunchKernel)

/// The driver API of libcuda.so.1, opened at run time: nothing links it.
struct CudaDriver {
#define VERDICT_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
  VERDICT_CUDA_FUNCTIONS(VERDICT_CUDA_MEMBER)
#undef VERDICT_CUDA_MEMBER
  CUresult (*cuCtxCreate_v2)(CUcontext* context, unsigned int flags, CUdevice device) = nullptr;
  CUresult (*cuDeviceGetUuid)(CUuuid* uuid, CUdevice device) = nullptr;
  /// Null where the driver lacks it (before CUDA 11.7).
  CUresult (*cuStreamWriteValue32_v2)(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                      unsigned int flags) = nullptr;

  int version = 0;             // 13000 is CUDA 13.0
  std::string driver_version;  // "580.159.04"; "cuda 13.0" where it cannot be told
};

/// Opens libcuda.so.1 once a process and initialises it; stays open. Errors: kUnavailable: no
/// library, no such function, or no device, with what to install.
Result<const CudaDriver*> OpenCudaDriver();

/// As OpenCudaDriver, of the library at `path`, each time anew.
Result<CudaDriver> OpenCudaLibrary(const char* path);

/// True for errors after which every call in the context fails: it has to be ended.
bool IsSticky(CUresult result);

/// The error as a status: memory is kResourceExhausted, a lost context and a missing driver
/// kUnavailable, a mistake of ours kInternal. what: "copying inputs". driver: for the error's name;
/// may be null.
Status CudaStatus(CUresult result, const std::string& what, const CudaDriver* driver);

}  // namespace verdict::tensorrt
