#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/device_fixture_test.h"
#include "runtime/device_host.h"

namespace verdict {

// For tests: hosts of fake devices.

/// Whatever a host says: Recover must never find anything left on the device.
inline void ExpectNothingLeft(const std::string& line) {
  EXPECT_EQ(line.find("are still there"), std::string::npos) << line;
}

inline std::shared_ptr<DeviceHost> HostOf(const std::shared_ptr<Device>& device,
                                          DeviceHostOptions options = {}) {
  options.recovery_interval_ms = 5;
  if (!options.device.log) options.device.log = ExpectNothingLeft;
  return DeviceHost::Create(device, options).value();
}

/// Bytes that an engine of the fixture takes on the device, with two streams.
inline uint64_t OneEngine(const char* text = kDeviceMlp) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto engine = EngineFor(*device, text);
  const auto host = HostOf(device);
  return host->Attach(engine, "m", {}).device_bytes;
}

}  // namespace verdict
