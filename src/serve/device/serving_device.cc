#include "serve/device/serving_device.h"

#include <spdlog/spdlog.h>

#include <array>
#include <utility>
#include <vector>

namespace verdict {
namespace {

/// What "auto" looks for.
constexpr std::array kKnownBackends = {"tensorrt"};

DeviceHostOptions HostOptionsOf(const ServingDeviceOptions& options, std::string backend) {
  DeviceHostOptions host;
  host.backend = std::move(backend);
  host.plugin_folder = options.plugin_folder;
  host.isolation = options.isolation;
  host.worker.spin_us = options.spin_us;
  host.worker.spinners = options.spinners;
  host.device.index = options.index;
  host.device.run_timeout_ms = options.run_timeout_ms;
  host.device.log = [](const std::string& line) { spdlog::warn("device: {}", line); };
  host.memory_limit_bytes = options.memory_limit_bytes;
  host.idle_ms = static_cast<uint32_t>(options.idle.count() * 1000);
  host.rebuild = options.rebuild;
  host.stored_plans = options.stored_plans;
  return host;
}

Status CheckOptions(const ServingDeviceOptions& options) {
  if (options.stored_plans || options.rebuild) return OkStatus();
  return InvalidArgument(
      "device.plans is rebuild, but device.rebuild is never: no plan would ever be used; set "
      "device.rebuild: background");
}

}  // namespace

Status ServingDevice::Check(const ServingDeviceOptions& options) {
  if (options.backend == "none") return OkStatus();
  VERDICT_RETURN_IF_ERROR(CheckOptions(options));
  if (options.backend == "auto") return OkStatus();  // whatever there is
  DeviceOptions device;
  device.index = options.index;
  return OpenDevice(options.backend, options.plugin_folder, device)
      .status()
      .WithContext("key 'device.backend'");
}

std::unique_ptr<ServingDevice> ServingDevice::Open(const ServingDeviceOptions& options) {
  std::unique_ptr<ServingDevice> device(new ServingDevice(options));
  if (options.backend == "none") return device;
  const bool any = options.backend == "auto";
  std::vector<std::string> backends = {options.backend};
  if (any) backends.assign(kKnownBackends.begin(), kKnownBackends.end());
  for (const std::string& backend : backends) {
    device->backend_ = backend;
    device->status_ = CheckOptions(options);
    if (!device->status_.ok()) break;
    auto host = DeviceHost::Open(HostOptionsOf(options, backend));
    device->status_ = host.status();
    if (!host.ok()) continue;
    device->host_ = *std::move(host);
    break;
  }
  device->wanted_ = !any || device->host_ != nullptr;
  if (device->host_ != nullptr) {
    const DeviceInfo& info = device->host_->info();
    spdlog::info("device {}: {} ({})", info.index, info.name, info.versions);
  } else if (any) {
    spdlog::info("no device: {}", device->status_.message());
    device->status_ = OkStatus();
    device->backend_.clear();
  } else {
    spdlog::error("no device, all models are served by their CPU plans: {}",
                  device->status_.message());
  }
  return device;
}

int ServingDevice::Streams(const ModelConfig& config) const {
  const bool says = config.instance_kind == InstanceKind::kGpu && config.instance_count > 0;
  return says ? static_cast<int>(config.instance_count) : options_.streams;
}

void ServingDevice::Attach(const std::shared_ptr<const Engine>& engine, const std::string& name,
                           const std::string& version, const ModelConfig& config,
                           std::function<Status(DeviceEngine&)> prepare) {
  const bool has_plan = !engine->contents().device_plans.empty();
  if (host_ != nullptr && config.instance_kind != InstanceKind::kCpu) {
    DeviceEngineOptions options;
    options.streams = Streams(config);
    options.prepare = std::move(prepare);
    host_->Attach(engine, name + "/" + version, options);
  }
  const DeviceAttachment standing = Standing(*engine, config);
  if (standing.state == DeviceAttachment::State::kAttached) {
    spdlog::info("model {} version {} is on the device, {} bytes of it", name, version,
                 standing.device_bytes);
    return;
  }
  const bool expected =
      config.instance_kind == InstanceKind::kGpu ||
      (has_plan && host_ != nullptr && config.instance_kind == InstanceKind::kAuto);
  if (expected) {
    spdlog::warn("model {} version {} is served by its CPU plan: {}", name, version,
                 standing.reason);
  }
}

DeviceAttachment ServingDevice::Standing(const Engine& engine, const ModelConfig& config) const {
  DeviceAttachment standing;
  if (config.instance_kind == InstanceKind::kCpu) {
    standing.reason = "its configuration keeps it on the CPU (instance_group: KIND_CPU)";
  } else if (!status_.ok()) {
    standing.reason = status_.message();
  } else if (host_ == nullptr) {
    standing.reason = "the server has no device; set device.backend";
  } else {
    standing = host_->attachment(engine);
  }
  return standing;
}

std::string ServingDevice::Notice(const Engine& engine, const ModelConfig& config) const {
  const bool has_plan = !engine.contents().device_plans.empty();
  const bool asks = config.instance_kind == InstanceKind::kGpu;
  // Of an engine for the CPU on a server without a device there is nothing to say.
  if (config.instance_kind == InstanceKind::kCpu || (!asks && !(has_plan && wanted_))) return {};
  const DeviceAttachment standing = Standing(engine, config);
  if (standing.state == DeviceAttachment::State::kAttached) return {};
  return "served by cpu: " + standing.reason;
}

const char* AttachmentName(DeviceAttachment::State state) {
  switch (state) {
    case DeviceAttachment::State::kNone:
      break;
    case DeviceAttachment::State::kAttached:
      return "attached";
    case DeviceAttachment::State::kBuilding:
      return "building";
    case DeviceAttachment::State::kRefused:
      return "refused";
    case DeviceAttachment::State::kEvicted:
      return "evicted";
    case DeviceAttachment::State::kLost:
      return "lost";
  }
  return "none";
}

}  // namespace verdict
