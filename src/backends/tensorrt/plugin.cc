#include <exception>

#include "backends/device/device_plugin.h"
#include "backends/tensorrt/tensorrt_device.h"

namespace verdict::tensorrt {
namespace {

Result<std::unique_ptr<Device>> Open(const DeviceOptions& options) {
  try {
    return TensorRtDevice::Open(options);
  } catch (const std::exception& error) {
    return Internal(std::string("opening TensorRT: ") + error.what());
  }
}

}  // namespace
}  // namespace verdict::tensorrt

extern "C" __attribute__((visibility("default"))) const verdict::DevicePlugin*
verdict_device_plugin() {
  static const std::string build_id = verdict::DeviceBuildId();
  static const verdict::DevicePlugin plugin{verdict::kDeviceAbiVersion, build_id.c_str(),
                                            "tensorrt", verdict::tensorrt::Open};
  return &plugin;
}
