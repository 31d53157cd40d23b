// A plugin as device_plugin_test.cc wants it: compiled a few times, with other definitions of the
// three names below.
#include "backends/device/device_plugin.h"

namespace verdict {
namespace {

Result<std::unique_ptr<Device>> Open(const DeviceOptions& options) {
  return NotFound("test plugin: there is no device " + std::to_string(options.index));
}

}  // namespace
}  // namespace verdict

extern "C" __attribute__((visibility("default"))) const verdict::DevicePlugin* TEST_SYMBOL() {
  static const std::string build_id = verdict::DeviceBuildId() + TEST_BUILD_SUFFIX;
  static const verdict::DevicePlugin plugin{TEST_ABI_VERSION, build_id.c_str(), "test",
                                            verdict::Open};
  return &plugin;
}
