#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backends/device/device.h"
#include "runtime/device_worker/channel.h"
#include "runtime/device_worker/mailbox.h"
#include "runtime/device_worker/run_board.h"
#include "runtime/device_worker/run_watch.h"
#include "runtime/device_worker/wire.h"

namespace verdict {

/// The device worker's side: a device, its programs and runners, and what the server asks of them.
///
/// A call runs on the thread that hands it in, so that no call waits for another one unless the
/// device itself lets them take turns. Runs come over the board, to threads of this object: as many
/// as there have been runners at a time, so that no run's start waits for another one either.
class WorkerService {
 public:
  using Open = std::function<Result<std::unique_ptr<Device>>(
      const std::string& backend, const std::string& plugin_folder, const DeviceOptions& options)>;
  /// Called by any thread.
  using Send =
      std::function<void(const proto::WorkerReply& reply, std::span<const Descriptor> payloads)>;

  WorkerService(Open open, Send send) : open_(std::move(open)), send_(std::move(send)) {}
  /// Ends the threads that serve runs, after the runs that they are in.
  ~WorkerService();

  /// Once a device is open: ties the server's view of this process's life to the calling thread.
  /// Before, nothing.
  void HoldLifeline();

  /// Does what is asked and sends the answer. Threads: any.
  void Handle(const proto::WorkerRequest& request, std::span<const Descriptor> payloads);

 private:
  struct Answer {
    proto::WorkerReply reply;
    std::vector<Descriptor> payloads;
  };
  struct Runner;

  Status Dispatch(const proto::WorkerRequest& request, std::span<const Descriptor> payloads,
                  Answer& answer);
  Status OpenDevice(const proto::OpenCall& call, std::span<const Descriptor> payloads,
                    Answer& answer);
  Status Supports(std::span<const Descriptor> payloads, Answer& answer);
  Status Build(uint64_t id, const proto::BuildCall& call, std::span<const Descriptor> payloads,
               Answer& answer);
  Status Load(const proto::LoadCall& call, std::span<const Descriptor> payloads, Answer& answer);
  Status Refit(std::span<const Descriptor> payloads, Answer& answer);
  Status NewRunner(const proto::NewRunnerCall& call, std::span<const Descriptor> payloads);
  Status Profile(const proto::ProfileCall& call, std::span<const Descriptor> payloads,
                 Answer& answer);
  Status CloseProgram(uint64_t id);
  Status CloseRunner(uint64_t slot);

  Result<Device*> device();
  Result<std::shared_ptr<DeviceProgram>> FindProgram(uint64_t id);
  std::shared_ptr<Runner> FindRunner(uint64_t slot);
  void SendLog(uint64_t id, const std::string& line);

  void ServeRuns();
  /// Counts in shared memory until it is told to stop.
  void Beat(const std::stop_token& stop);

  const Open open_;
  const Send send_;
  SharedPages shared_pages_;
  SharedState* shared_ = nullptr;  // in shared_pages_
  RunBoard::Watch board_watch_;
  std::optional<RunWatch> run_watch_;  // since the device is open
  std::jthread pulse_thread_;          // as well

  std::mutex mutex_;  // guards what follows
  std::unique_ptr<Device> device_;
  std::map<uint64_t, std::shared_ptr<DeviceProgram>> programs_;
  std::array<std::shared_ptr<Runner>, RunBoard::kSlots> runners_;
  size_t num_runners_ = 0;
  std::vector<std::thread> run_threads_;
};

}  // namespace verdict
