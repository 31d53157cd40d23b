#include "backends/tensorrt/calibrator.h"

#include "backends/tensorrt/engine_tensors.h"
#include "backends/tensorrt/network_context.h"

#if NV_TENSORRT_MAJOR < 11

namespace verdict::tensorrt {

Result<std::unique_ptr<Calibrator>> Calibrator::Make(CudaContext& context, const Graph& graph,
                                                     const Profile& profile,
                                                     std::span<const std::vector<Constant>> samples,
                                                     std::string cache) {
  std::unique_ptr<Calibrator> calibrator(new Calibrator(context));
  calibrator->cache_ = std::move(cache);
  if (!calibrator->cache_.empty()) return calibrator;
  if (samples.empty()) {
    return InvalidArgument(
        "int8 needs samples or a calibration cache, or a graph with "
        "QuantizeLinear and DequantizeLinear");
  }
  for (size_t s = 0; s < samples.size(); ++s) {
    bool fits = samples[s].size() == graph.inputs.size();
    for (size_t i = 0; fits && i < graph.inputs.size(); ++i) {
      fits = samples[s][i].dtype == graph.value(graph.inputs[i]).dtype &&
             samples[s][i].shape == profile.inputs[i].opt;
    }
    if (!fits) {
      return InvalidArgument("calibration sample " + std::to_string(s) +
                             " has not the inputs' types and the first profile's opt shapes");
    }
  }
  VERDICT_RETURN_IF_ERROR(context.MakeCurrent());
  calibrator->samples_ = samples;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const DataType dtype = graph.value(graph.inputs[i]).dtype;
    VERDICT_ASSIGN_OR_RETURN(const nvinfer1::DataType theirs, DeviceType(dtype));
    VERDICT_ASSIGN_OR_RETURN(const Conversion conversion, ConversionOf(dtype, theirs));
    VERDICT_ASSIGN_OR_RETURN(const int64_t elements, NumElements(profile.inputs[i].opt));
    const size_t bytes = static_cast<size_t>(elements) * DeviceElementSize(dtype, conversion);
    calibrator->host_.emplace_back(bytes);
    VERDICT_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(context, bytes));
    calibrator->buffers_.push_back(std::move(buffer));
  }
  return calibrator;
}

bool Calibrator::getBatch(void* bindings[], const char* names[], int32_t count) noexcept {
  if (next_ == samples_.size()) return false;
  const std::vector<Constant>& sample = samples_[next_++];
  status_ = context_.MakeCurrent();
  for (size_t i = 0; status_.ok() && i < sample.size(); ++i) {
    const Conversion conversion = host_[i].size() == static_cast<size_t>(sample[i].view().size()) *
                                                         ElementSize(sample[i].dtype)
                                      ? Conversion::kNone
                                      : Conversion::kInt64AsInt32;
    status_ = CopyToDeviceForm(sample[i].data, sample[i].dtype, conversion, sample[i].view().size(),
                               host_[i].data());
    if (!status_.ok()) break;
    status_ = context_.Check(
        context_.driver().cuMemcpyHtoD_v2(buffers_[i].address(), host_[i].data(), host_[i].size()),
        "copying a calibration sample");
  }
  if (!status_.ok()) return false;
  for (int32_t b = 0; b < count; ++b) {
    for (size_t i = 0; i < buffers_.size(); ++i) {
      if (InputName(i) == names[b]) bindings[b] = reinterpret_cast<void*>(buffers_[i].address());
    }
  }
  return true;
}

const void* Calibrator::readCalibrationCache(size_t& length) noexcept {
  length = cache_.size();
  return cache_.empty() ? nullptr : cache_.data();
}

void Calibrator::writeCalibrationCache(const void* text, size_t length) noexcept {
  try {
    cache_.assign(static_cast<const char*>(text), length);
  } catch (...) {
    status_ = ResourceExhausted("no memory for the calibration cache");
  }
}

}  // namespace verdict::tensorrt

#endif
