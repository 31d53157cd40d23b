#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "release/repository/model_config.h"
#include "runtime/device_host.h"

namespace verdict {

/// What the server's configuration says of a device.
struct ServingDeviceOptions {
  std::string backend = "none";  // or "auto", "tensorrt", …
  std::string plugin_folder;
  DeviceIsolation isolation = DeviceIsolation::kProcess;
  uint32_t spin_us = 10'000;  // see WorkerOptions
  uint32_t spinners = 1;
  int index = 0;
  uint64_t memory_limit_bytes = 0;  // 0: nine tenths of the device's
  std::chrono::seconds idle{60};    // a model that has not run for so long makes room for others
  int streams = 2;                  // of a model that does not say
  uint32_t run_timeout_ms = 2000;
  bool rebuild = true;       // plans that do not fit are built again
  bool stored_plans = true;  // false: no plan is taken from a file
  bool fault_injection = false;
};

/// The device that models are served on, if there is one. One that is asked for and cannot be had
/// keeps nothing from being served: it says why, and the CPU plans answer. Threads: any.
class ServingDevice {
 public:
  /// Opens the device; takes as long as its libraries take. Writes to the log what came of it.
  static std::unique_ptr<ServingDevice> Open(const ServingDeviceOptions& options);

  /// Whether these options would open a device. Errors: as OpenDevice; kInvalidArgument.
  static Status Check(const ServingDeviceOptions& options);

  /// False: no device was asked for, or "auto" has found none. Nothing is told of it then.
  bool wanted() const { return wanted_; }
  /// OK, or why there is no device although one was asked for.
  const Status& status() const { return status_; }
  /// Null: there is none.
  DeviceHost* host() const { return host_.get(); }
  /// "tensorrt"; also of one that could not be opened.
  const std::string& backend() const { return backend_; }
  bool fault_injection() const { return options_.fault_injection; }

  /// How many runs of a model it takes at a time.
  int Streams(const ModelConfig& config) const;

  /// Puts an engine there where its configuration lets it; see DeviceHost::Attach. What is not
  /// there although it is KIND_GPU is worth a warning in the log. prepare:
  /// DeviceEngineOptions::prepare. Not for a request's thread.
  void Attach(const std::shared_ptr<const Engine>& engine, const std::string& name,
              const std::string& version, const ModelConfig& config,
              std::function<Status(DeviceEngine&)> prepare);

  /// Where a model stands; kNone with a reason for one that does not belong there.
  DeviceAttachment Standing(const Engine& engine, const ModelConfig& config) const;
  /// For people: why the CPU answers, where somebody might expect the device to.
  std::string Notice(const Engine& engine, const ModelConfig& config) const;

 private:
  explicit ServingDevice(const ServingDeviceOptions& options) : options_(options) {}

  const ServingDeviceOptions options_;
  bool wanted_ = false;
  std::string backend_;
  Status status_;
  std::shared_ptr<DeviceHost> host_;
};

/// As the metrics and the devices endpoint name it: "attached", "building", …
const char* AttachmentName(DeviceAttachment::State state);

}  // namespace verdict
