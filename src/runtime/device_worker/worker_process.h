#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "backends/device/device.h"
#include "runtime/device_worker/channel.h"
#include "runtime/device_worker/mailbox.h"
#include "runtime/device_worker/remote_device.h"
#include "runtime/device_worker/run_board.h"
#include "runtime/device_worker/wire.h"

namespace verdict {

/// One life of a worker, from start to end: what is loaded there dies with it. Shared by the remote
/// device and all programs and runners of that life. Threads: any.
///
/// A thread of its own starts it (it would be killed when that thread ends), hears its answers, log
/// lines and end, and reaps it. Another one hears of its end first.
class WorkerProcess {
 public:
  using Log = std::function<void(const std::string&)>;

  /// Starts a worker and opens its device. info: what it has found. Errors: kUnavailable: it does
  /// not start, or not in time; as the plugin's open.
  static Result<std::shared_ptr<WorkerProcess>> Start(const std::string& backend,
                                                      const std::string& plugin_folder,
                                                      const DeviceOptions& device,
                                                      const WorkerOptions& options,
                                                      DeviceInfo* info);
  /// Lets it end, or kills it, and waits for that.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  struct Answer {
    proto::WorkerReply reply;
    std::vector<Descriptor> payloads;
  };
  /// Sends the request, which gets an id, and waits for the answer, without end where there is no
  /// time-out: a worker that does not answer in time is given up. log: gets lines that belong to
  /// the call; called by another thread, but only before this returns. Errors: the call's own;
  /// kUnavailable if the worker has ended or does so now.
  Result<Answer> Call(proto::WorkerRequest request, std::span<const Descriptor> payloads,
                      std::optional<std::chrono::milliseconds> timeout, const Log& log = {});

  /// OK, or why this worker is of no use any more.
  Status Check() const;
  bool lost() const { return lost_.load(std::memory_order_acquire); }

  /// Gives the worker up: it is killed, everything that waits for it gets an error now, and
  /// everything that asks it later too.
  void Lose(const std::string& why);
  /// Whether its process is gone; one that a driver holds may outlive what is known of it.
  bool reaped() const;
  /// False if it has not ended within that time.
  bool WaitForEnd(std::chrono::milliseconds timeout);

  /// A place on the board for a runner whose mailbox hears of the worker's end. Errors:
  /// kResourceExhausted: there are too many runners; as Check.
  Result<uint32_t> AddRunner(Mailbox& mailbox);
  /// keep_slot: the worker still has its runner; the slot is not given out again.
  void RemoveRunner(Mailbox& mailbox, uint32_t slot, bool keep_slot);

  RunBoard& board() { return shared().board; }
  uint64_t NewProgramId() { return ++last_program_; }
  int pid() const { return pid_; }

 private:
  struct Pending {
    const Log* log = nullptr;
    bool in_log = false;  // a line of it is being told
    bool done = false;
    Result<Answer> answer = Unavailable("");
  };

  WorkerProcess() = default;
  Status Begin(const std::filesystem::path& program, const std::string& backend, Log log);
  // Of the thread.
  void Live(const std::filesystem::path& program, const std::string& backend,
            std::promise<Status> started);
  void Hear();
  Status TakeMessage();
  bool TakeErrorText();
  void TakeErrorLine();
  void Reap();
  /// How it has ended, once it has.
  std::optional<std::string> TryReap();

  void LoseLocked(const std::string& why);
  SharedState& shared() { return *reinterpret_cast<SharedState*>(shared_pages_.data()); }
  void WatchLife(std::chrono::milliseconds silence);

  SharedPages shared_pages_;
  Descriptor shared_file_;
  std::unique_ptr<Channel> channel_;
  Descriptor stderr_pipe_;
  Log log_;
  int pid_ = 0;
  std::atomic<uint64_t> last_program_ = 0;
  std::atomic<bool> lost_ = false;
  std::string error_line_;  // of its stderr, not yet whole; of the thread
  std::thread thread_;
  std::thread life_thread_;  // once the worker has started

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::string why_;
  std::string last_error_line_;  // of its stderr
  bool reaped_ = false;
  bool over_ = false;    // the thread is about to end
  bool ending_ = false;  // it was asked to
  uint64_t last_call_ = 0;
  std::map<uint64_t, Pending*> calls_;
  std::set<Mailbox*> mailboxes_;
  std::vector<uint32_t> free_slots_;
};

}  // namespace verdict
