#pragma once

#include <memory>
#include <mutex>

#include "backends/device/device.h"
#include "backends/tensorrt/cuda_context.h"
#include "backends/tensorrt/plan_file.h"
#include "backends/tensorrt/scratch.h"
#include "backends/tensorrt/tensorrt_library.h"
#include "backends/tensorrt/trials.h"

namespace verdict::tensorrt {

/// Deletes an object of TensorRT in its context. Those of a lost context are left where they are:
/// their destructors would wait for a card that does not answer, or end the process. A loss costs
/// some megabytes of host memory so; device memory goes with the context.
template <typename T>
struct DeleteInContext {
  CudaContext* context = nullptr;
  void operator()(T* object) const {
    if (context->MakeCurrent().ok()) delete object;
  }
};
template <typename T>
using TensorRtPointer = std::unique_ptr<T, DeleteInContext<T>>;

template <typename T>
TensorRtPointer<T> Own(T* object, CudaContext& context) {
  return {object, DeleteInContext<T>{&context}};
}

/// What a device, its programs and their runners share.
struct DeviceCore {
  DeviceCore(const TensorRtLibrary& the_library, const DeviceOptions& the_options)
      : library(the_library), options(the_options), logger(the_options.log) {}

  const TensorRtLibrary& library;
  const DeviceOptions options;
  Trials trials;
  Logger logger;
  std::unique_ptr<CudaContext> context;
  std::unique_ptr<ScratchLanes> lanes;
  TensorRtPointer<nvinfer1::IBuilder> builder;  // made by the first build
  std::mutex turns;                             // builds and loads
  std::mutex measuring;                         // whoever compares free memory before and after

  void Log(const std::string& message) const {
    if (options.log) options.log(message);
  }
  /// Version and card, for the header of a program built here.
  PlanHeader HeaderHere() const;
};

}  // namespace verdict::tensorrt
