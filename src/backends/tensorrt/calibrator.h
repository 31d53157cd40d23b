#pragma once

#include <NvInfer.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/tensorrt/cuda_context.h"
#include "plan/plan.h"

#if NV_TENSORRT_MAJOR < 11  // 11 takes int8 as QuantizeLinear and DequantizeLinear alone

namespace verdict::tensorrt {

/// Feeds TensorRT's entropy calibrator from samples, or from a cache that an earlier build wrote.
class Calibrator final : public nvinfer1::IInt8EntropyCalibrator2 {
 public:
  /// samples: each a constant per graph input, of the opt shapes; unused where `cache` is not
  /// empty. Errors: kInvalidArgument: neither, or a sample of other types or shapes;
  /// kResourceExhausted.
  static Result<std::unique_ptr<Calibrator>> Make(CudaContext& context, const Graph& graph,
                                                  const Profile& profile,
                                                  std::span<const std::vector<Constant>> samples,
                                                  std::string cache);

  int32_t getBatchSize() const noexcept override { return 1; }
  bool getBatch(void* bindings[], const char* names[], int32_t count) noexcept override;
  const void* readCalibrationCache(size_t& length) noexcept override;
  void writeCalibrationCache(const void* text, size_t length) noexcept override;

  /// The cache that was given or written.
  const std::string& cache() const { return cache_; }
  /// Why the last getBatch gave nothing; OK where the samples had ended.
  const Status& status() const { return status_; }

 private:
  explicit Calibrator(CudaContext& context) : context_(context) {}

  CudaContext& context_;
  std::span<const std::vector<Constant>> samples_;
  std::string cache_;
  size_t next_ = 0;
  std::vector<DeviceBuffer> buffers_;         // per input
  std::vector<std::vector<std::byte>> host_;  // per input: a sample in the device's form
  Status status_;
};

}  // namespace verdict::tensorrt

#endif
