// The plugin of backend "fake", for tests of everything around a device: libverdict_fake.so, which
// is built with the tests and installed nowhere. It computes with the reference kernels, and is set
// up by environment variables, read when a device is opened:
//
//   VERDICT_FAKE_MISSING=TEXT           open answers kUnavailable with this text
//   VERDICT_FAKE_NEVER=TEXT             open answers kUnimplemented with this text
//   VERDICT_FAKE_DEVICES=N              how many there are (1): an index beyond is kNotFound
//   VERDICT_FAKE_NAME=TEXT              ("Fake device")
//   VERDICT_FAKE_FINGERPRINT=TEXT       ("fake 1.0") programs of another do not load
//   VERDICT_FAKE_MEMORY_BYTES=N         (2^30)
//   VERDICT_FAKE_SHARED_BYTES=N         scratch that its programs share, while there is one (0)
//   VERDICT_FAKE_UNSUPPORTED=OP,OP      operators that it declines
//   VERDICT_FAKE_LATENCY_US=N           of every run, beside the computation (0)
//   VERDICT_FAKE_BUILD_MS=N             of every build (0)
//   VERDICT_FAKE_OPEN_MS=N              of open: how long a new worker takes to be there (0)
//   VERDICT_FAKE_FAILING_RECOVERIES=N   how often Recover fails before it succeeds (0)
//   VERDICT_FAKE_NEEDS_CALLER_MEMORY=1  runs refuse inputs that lie elsewhere
//   VERDICT_FAKE_FLOAT32_ERROR=X, VERDICT_FAKE_HALF_ERROR=X, VERDICT_FAKE_INT8_ERROR=X
//                                       how wrong float outputs are, by the precision of the build
//
// The time-out of a run is DeviceOptions::run_timeout_ms.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "backends/device/device_plugin.h"
#include "backends/device/fake_device.h"

namespace verdict {
namespace {

std::string Text(const char* name, const std::string& fallback = {}) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : value;
}

uint64_t Number(const char* name, uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::strtoull(value, nullptr, 10);
}

float Float(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::strtof(value, nullptr);
}

Result<std::unique_ptr<Device>> Open(const DeviceOptions& options) {
  if (const std::string missing = Text("VERDICT_FAKE_MISSING"); !missing.empty()) {
    return Unavailable(missing);
  }
  if (const std::string never = Text("VERDICT_FAKE_NEVER"); !never.empty()) {
    return Unimplemented(never);
  }
  const uint64_t devices = Number("VERDICT_FAKE_DEVICES", 1);
  if (options.index < 0 || static_cast<uint64_t>(options.index) >= devices) {
    return NotFound("there is no device " + std::to_string(options.index) + ", only " +
                    std::to_string(devices));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(Number("VERDICT_FAKE_OPEN_MS", 0)));
  FakeDeviceOptions fake;
  fake.index = options.index;
  fake.name = Text("VERDICT_FAKE_NAME", fake.name);
  fake.fingerprint = Text("VERDICT_FAKE_FINGERPRINT", fake.fingerprint);
  fake.memory_bytes = Number("VERDICT_FAKE_MEMORY_BYTES", fake.memory_bytes);
  fake.shared_bytes = Number("VERDICT_FAKE_SHARED_BYTES", 0);
  fake.needs_caller_memory = Number("VERDICT_FAKE_NEEDS_CALLER_MEMORY", 0) != 0;
  const std::string unsupported = Text("VERDICT_FAKE_UNSUPPORTED");
  for (size_t begin = 0; begin < unsupported.size();) {
    const size_t end = std::min(unsupported.find(',', begin), unsupported.size());
    fake.unsupported.insert(unsupported.substr(begin, end - begin));
    begin = end + 1;
  }
  fake.latency_us = static_cast<uint32_t>(Number("VERDICT_FAKE_LATENCY_US", 0));
  fake.build_ms = static_cast<uint32_t>(Number("VERDICT_FAKE_BUILD_MS", 0));
  fake.run_timeout_ms = options.run_timeout_ms;
  fake.failing_recoveries = static_cast<int>(Number("VERDICT_FAKE_FAILING_RECOVERIES", 0));
  fake.float32_error = Float("VERDICT_FAKE_FLOAT32_ERROR");
  fake.half_error = Float("VERDICT_FAKE_HALF_ERROR");
  fake.int8_error = Float("VERDICT_FAKE_INT8_ERROR");
  return MakeFakeDevice(fake);
}

}  // namespace
}  // namespace verdict

extern "C" __attribute__((visibility("default"))) const verdict::DevicePlugin*
verdict_device_plugin() {
  static const std::string build_id = verdict::DeviceBuildId();
  static const verdict::DevicePlugin plugin{verdict::kDeviceAbiVersion, build_id.c_str(), "fake",
                                            verdict::Open};
  return &plugin;
}
