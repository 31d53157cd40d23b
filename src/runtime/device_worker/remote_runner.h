#pragma once

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/device_worker/remote_program.h"

namespace verdict {

/// A runner in a worker, with the memory that its runs go through.
class RemoteRunner : public DeviceRunner {
 public:
  RemoteRunner(std::shared_ptr<WorkerProcess> worker,
               std::shared_ptr<const ProgramInterface> interface, Mailbox mailbox,
               const RemoteTimes& times);
  ~RemoteRunner() override;

  /// Asks the worker for it; once, before anything else. Errors: as DeviceProgram::NewRunner.
  Status Open(proto::WorkerRequest request, const Descriptor& mailbox_file);

  Status Start(std::span<const TensorView> inputs) override;
  bool Wait(std::chrono::steady_clock::time_point until) override;
  Result<std::span<const TensorView>> Finish() override;
  Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs) override;

 private:
  using Clock = std::chrono::steady_clock;
  Mailbox::Outcome WaitForEnd(Clock::time_point until);
  Status PutInputs(std::span<const TensorView> inputs);
  /// Trusts nothing that the worker has written. Errors: kDataLoss.
  Status TakeOutputs();
  Status CheckOutput(const ProgramInterface::Tensor& tensor, const TensorView& view) const;
  /// What a run's failure means for all.
  Status Failed(const Mailbox::Answer& answer);

  const std::shared_ptr<WorkerProcess> worker_;
  const std::shared_ptr<const ProgramInterface> interface_;
  Mailbox mailbox_;
  const RemoteTimes times_;
  bool open_ = false;
  uint32_t slot_ = 0;
  Clock::time_point give_up_;                 // this run's time-out
  std::vector<std::pair<Dim, Dim>> extents_;  // of this run's symbols, as far as inputs agree
  std::vector<TensorView> outputs_;
};

}  // namespace verdict
