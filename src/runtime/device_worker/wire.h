#pragma once

#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "device_worker.pb.h"

namespace verdict {

// Between device.h's types and the messages. Everything that comes from a message is checked.

/// Grows with every change of device_worker.proto, mailbox.h or run_board.h.
inline constexpr uint32_t kWorkerProtocolVersion = 3;

void WriteStatus(const Status& status, proto::WorkerStatus& message);
/// A code that is none becomes kInternal.
Status ReadStatus(const proto::WorkerStatus& message);

void WriteShape(const Shape& shape, proto::WorkerShape& message);
/// Errors: kDataLoss: no static shape.
Result<Shape> ReadShape(const proto::WorkerShape& message);

/// Appends the tensors to `bytes`, each at a multiple of 64. Errors: kInvalidArgument: strings.
Status WriteTensors(std::span<const TensorView> tensors, proto::WorkerTensors& message,
                    std::vector<std::byte>& bytes);
/// Constants that point into the payload. Errors: kDataLoss: one is not within it.
Result<std::vector<Constant>> ReadTensors(const proto::WorkerTensors& message,
                                          std::span<const std::byte> bytes,
                                          const std::shared_ptr<const void>& owner);

void WriteInfo(const DeviceInfo& info, proto::WorkerDeviceInfo& message);
DeviceInfo ReadInfo(const proto::WorkerDeviceInfo& message);

/// All but samples, timing cache and log.
void WriteBuildOptions(const DeviceBuildOptions& options, proto::BuildCall& message);
DeviceBuildOptions ReadBuildOptions(const proto::BuildCall& message);

void WriteRunnerOptions(const DeviceRunnerOptions& options, proto::NewRunnerCall& message);
Result<DeviceRunnerOptions> ReadRunnerOptions(const proto::NewRunnerCall& message);

}  // namespace verdict
