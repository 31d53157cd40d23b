#include "backends/tensorrt/device_core.h"

namespace verdict::tensorrt {

PlanHeader DeviceCore::HeaderHere() const {
  const TensorRtVersion& version = library.version();
  PlanHeader header;
  header.tensorrt_version =
      static_cast<uint32_t>(version.major * 10000 + version.minor * 100 + version.patch);
  header.sm = static_cast<uint32_t>(context->sm());
  return header;
}

}  // namespace verdict::tensorrt
