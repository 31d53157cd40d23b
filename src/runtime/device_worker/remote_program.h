#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "runtime/device_worker/worker_process.h"

namespace verdict {

/// What a program takes and gives, and the most bytes of each.
struct ProgramInterface {
  struct Tensor {
    std::string name;
    Shape shape;  // may hold symbols, which outputs share with inputs
    MailboxPlace place;
  };
  std::vector<Tensor> inputs, outputs;

  /// Errors: as ResolveShapes at the profiles' min, opt and max; kInvalidArgument: strings.
  static Result<ProgramInterface> Of(const Graph& graph, std::span<const Profile> profiles);
};

/// How long things may take, and who spins.
struct RemoteTimes {
  std::chrono::milliseconds run_timeout{0};  // of the device, and the margin
  std::chrono::milliseconds call_timeout{0};
  std::chrono::microseconds spin{0};  // for a run's end
};

/// A program in a worker. Outlives the worker, if only to be let go of.
class RemoteProgram : public DeviceProgram {
 public:
  RemoteProgram(std::shared_ptr<WorkerProcess> worker, uint64_t id, uint64_t device_bytes,
                ProgramInterface interface, const RemoteTimes& times);
  ~RemoteProgram() override;
  Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) override;
  uint64_t device_bytes() const override;
  Result<std::string> LayerInformation() const override;

 private:
  const std::shared_ptr<WorkerProcess> worker_;
  const uint64_t id_;
  const std::shared_ptr<const ProgramInterface> interface_;
  const RemoteTimes times_;
  mutable std::atomic<uint64_t> device_bytes_;  // as the worker has said last
};

}  // namespace verdict
