#pragma once

#include <atomic>
#include <memory>

#include "backends/tensorrt/device_core.h"

namespace verdict::tensorrt {

/// TensorRT on one card.
class TensorRtDevice final : public Device {
 public:
  /// Errors: kUnavailable: no driver, no library, no card, with what to install; kNotFound: no card
  /// of that index.
  static Result<std::unique_ptr<Device>> Open(const DeviceOptions& options);

  const DeviceInfo& info() const override { return info_; }
  Status Supports(const Graph& graph, const Node& node) const override;
  Result<DeviceBlob> Build(const Graph& graph, std::span<const Profile> profiles,
                           const DeviceBuildOptions& options) override;
  Result<std::shared_ptr<DeviceProgram>> Load(std::span<const std::byte> bytes, const Graph& graph,
                                              std::span<const Profile> profiles) override;
  Result<std::vector<std::byte>> Refit(std::span<const std::byte> bytes,
                                       const Graph& graph) override;
  Result<DeviceMemory> memory() const override;
  bool lost() const override { return core_->context->lost(); }
  Status Recover() override;
  Status InjectFault(const std::string& kind) override;

 private:
  explicit TensorRtDevice(std::shared_ptr<DeviceCore> core) : core_(std::move(core)) {}

  std::shared_ptr<DeviceCore> core_;
  DeviceInfo info_;
  std::atomic<bool> refuse_next_load_ = false;
};

}  // namespace verdict::tensorrt
