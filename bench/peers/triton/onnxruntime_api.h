#pragma once

// The part of ONNX Runtime's C interface that onnxruntime_backend.cc calls, declared here because
// its Python package carries the library without headers. The interface is a table of functions
// whose places never change: newer versions append.

#include <cstddef>
#include <cstdint>
#include <string>

struct OrtStatus;

extern "C" {
struct OrtApiBase {
  void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
const OrtApiBase* OrtGetApiBase();
}

namespace ort {

/// Places in the table of interface version 1.
enum Place : size_t {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSession = 7,
  kRun = 9,
  kCreateSessionOptions = 10,
  kSetIntraOpNumThreads = 24,
  kSessionGetInputCount = 30,
  kSessionGetOutputCount = 31,
  kSessionGetInputName = 36,
  kSessionGetOutputName = 37,
  kCreateTensorWithData = 49,
  kGetTensorMutableData = 51,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetTensorTypeAndShape = 65,
  kCreateCpuMemoryInfo = 69,
  kGetAllocatorWithDefaultOptions = 78,
  kReleaseStatus = 93,
  kReleaseValue = 96,
  kReleaseTensorTypeAndShapeInfo = 99,
};

enum ElementType : int { kFloat = 1, kInt64 = 7 };
inline constexpr int kLogWarning = 2;
inline constexpr int kDeviceAllocator = 0;
inline constexpr int kMemoryDefault = 0;

/// An object of ONNX Runtime's: environment, session, value, …
using Handle = void*;

/// Calls a function that returns a status. Returns its message, empty if it succeeded.
template <typename... Args>
std::string Call(Place place, Args... args) {
  static void* const* const api = OrtGetApiBase()->GetApi(1);
  OrtStatus* status = reinterpret_cast<OrtStatus* (*)(Args...)>(api[place])(args...);
  if (status == nullptr) return {};
  std::string message =
      reinterpret_cast<const char* (*)(const OrtStatus*)>(api[kGetErrorMessage])(status);
  reinterpret_cast<void (*)(OrtStatus*)>(api[kReleaseStatus])(status);
  return message;
}

inline void Release(Place place, Handle object) {
  static void* const* const api = OrtGetApiBase()->GetApi(1);
  reinterpret_cast<void (*)(Handle)>(api[place])(object);
}

}  // namespace ort
