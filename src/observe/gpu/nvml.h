#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/gpu/gpu_sample.h"

namespace verdict {

/// NVIDIA's management library, which comes with the driver, opened at run time. Threads: one at a
/// time. Any call may take long, or for ever, when a GPU is in trouble.
class Nvml {
 public:
  /// Opens the library, looks for GPUs and remembers them in NVML's order.
  ///
  /// library: a name for dlopen, which LD_LIBRARY_PATH may redirect.
  /// Errors: kNotFound: no such library, or no GPU; kFailedPrecondition: it does not start, or
  /// lacks what has always been in it.
  static Result<std::unique_ptr<Nvml>> Open(const std::string& library);
  ~Nvml();

  size_t gpus() const;
  /// Asks all GPUs. What a GPU refuses to tell is missing from its sample, and that alone.
  std::vector<GpuSample> Sample();

 private:
  struct Functions;
  struct Gpu;
  Nvml();
  Status Find();

  std::unique_ptr<Functions> functions_;
  std::vector<Gpu> gpus_;
};

}  // namespace verdict
