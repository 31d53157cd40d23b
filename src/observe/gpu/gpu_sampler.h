#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/gpu/gpu_sample.h"

namespace verdict {

struct GpuSamplerOptions {
  std::string library = "libnvidia-ml.so.1";
  std::chrono::milliseconds interval{1000};  // > 0
  /// Samples older than this are not told: a GPU that hangs must not look like one that idles.
  std::chrono::milliseconds stale_after{10'000};
  /// How long the end waits for a thread that is inside of NVML before it leaves it there.
  std::chrono::milliseconds patience{500};
};

/// Asks NVML on a thread of its own, so that neither the start nor a scrape nor the end waits for a
/// driver in trouble. Where there is no NVML or no GPU, the thread ends and there are no samples.
class GpuSampler {
 public:
  /// Errors: kResourceExhausted: no thread.
  static Result<std::unique_ptr<GpuSampler>> Start(const GpuSamplerOptions& options);
  ~GpuSampler();

  /// The last samples; empty without GPUs, before the first, and once they are stale. Threads: any.
  std::vector<GpuSample> Last() const;

 private:
  struct State;
  explicit GpuSampler(std::shared_ptr<State> state);
  static void Loop(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // shared with the thread, which may outlive this
};

}  // namespace verdict
