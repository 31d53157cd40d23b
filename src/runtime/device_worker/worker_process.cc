#include "runtime/device_worker/worker_process.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "backends/device/device_plugin.h"
#include "runtime/device_worker/start.h"

namespace verdict {
namespace {

using std::chrono::milliseconds;

constexpr int kLooksForLife = 5;   // before a worker is taken for hanging
constexpr int kLookForEnd = 1000;  // ms
constexpr size_t kMaxErrorLine = 2000;
constexpr char kEnded[] = "it has ended";   // until it is known how
constexpr milliseconds kTimeToEnd{2000};    // of a worker that is told to
constexpr milliseconds kTimeToDie{30'000};  // of one that was killed; a driver may hold it

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + ")";
  }
  return "has ended with status " + std::to_string(WEXITSTATUS(status));
}

Status NoThread() {
  return ResourceExhausted(
      "no thread for the device worker; raise the limit of processes (ulimit -u, or the "
      "container's)");
}

}  // namespace

Result<std::shared_ptr<WorkerProcess>> WorkerProcess::Start(const std::string& backend,
                                                            const std::string& plugin_folder,
                                                            const DeviceOptions& device,
                                                            const WorkerOptions& options,
                                                            DeviceInfo* info) {
  VERDICT_ASSIGN_OR_RETURN(const auto program, FindWorkerProgram(options.program, plugin_folder));
  std::shared_ptr<WorkerProcess> worker(new WorkerProcess);
  VERDICT_RETURN_IF_ERROR(worker->Begin(program, backend, device.log));

  proto::WorkerRequest request;
  proto::OpenCall& call = *request.mutable_open();
  call.set_protocol(kWorkerProtocolVersion);
  call.set_build_id(DeviceBuildId());
  call.set_backend(backend);
  call.set_plugin_folder(plugin_folder);
  call.set_index(device.index);
  call.set_run_timeout_ms(device.run_timeout_ms);
  call.set_device_spin_us(device.spin_us);
  call.set_spin_us(options.spin_us);
  call.set_spinners(options.spinners);
  auto opened = worker->Call(std::move(request), std::span(&worker->shared_file_, 1),
                             milliseconds(options.start_timeout_ms));
  if (!opened.ok()) {
    if (!worker->lost()) return opened.status();
    // It knows a little later how the worker has ended, and what it has said last.
    worker->WaitForEnd(kTimeToEnd);
    const std::scoped_lock lock(worker->mutex_);
    std::string why =
        "the device worker of backend '" + backend + "' does not start: " + worker->why_;
    if (!worker->last_error_line_.empty()) why += "; it said: " + worker->last_error_line_;
    return Unavailable(std::move(why));
  }
  *info = ReadInfo(opened->reply.info());
  try {
    worker->life_thread_ = std::thread(
        [process = worker.get(), silence = milliseconds(std::max(1000U, options.silence_ms))] {
          process->WatchLife(silence);
        });
  } catch (const std::system_error&) {
    return NoThread();
  }
  return worker;
}

Status WorkerProcess::Begin(const std::filesystem::path& program, const std::string& backend,
                            Log log) {
  VERDICT_ASSIGN_OR_RETURN(auto shared, SharedPages::Create(sizeof(SharedState)));
  shared_pages_ = std::move(shared.first);
  shared_file_ = std::move(shared.second);
  log_ = std::move(log);
  for (uint32_t slot = RunBoard::kSlots; slot > 0; --slot) free_slots_.push_back(slot - 1);
  std::promise<Status> started;
  std::future<Status> outcome = started.get_future();
  try {
    thread_ = std::thread([this, program, backend, started = std::move(started)]() mutable {
      Live(program, backend, std::move(started));
    });
  } catch (const std::system_error&) {
    return NoThread();
  }
  return outcome.get();
}

WorkerProcess::~WorkerProcess() {
  if (!thread_.joinable()) return;  // nothing has begun
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  if (channel_ != nullptr) ::shutdown(channel_->socket(), SHUT_WR);
  if (!WaitForEnd(kTimeToEnd)) Lose("it was to end and did not");
  thread_.join();
  if (life_thread_.joinable()) life_thread_.join();
}

void WorkerProcess::WatchLife(milliseconds silence) {
  uint32_t pulse = 0;
  int looks = 0;  // that found no sign of life: few, where this process was stopped itself
  auto alive = std::chrono::steady_clock::now();
  while (!lost()) {
    if (shared().lifeline.WaitForEnd(silence / kLooksForLife)) return Lose(kEnded);
    const auto now = std::chrono::steady_clock::now();
    ++looks;
    if (const uint32_t found = shared().pulse.load(); found != pulse) {
      pulse = found;
      looks = 0;
      alive = now;
    }
    if (looks < kLooksForLife || now - alive < silence) continue;
    Lose("it hangs: no sign of life for " + std::to_string(silence.count()) + " ms");
  }
}

void WorkerProcess::Live(const std::filesystem::path& program, const std::string& backend,
                         std::promise<Status> started) {
  auto worker = StartWorker(program, backend);
  if (worker.ok()) {
    pid_ = worker->pid;
    channel_ = std::make_unique<Channel>(std::move(worker->socket));
    stderr_pipe_ = std::move(worker->stderr_pipe);
  } else {
    const std::scoped_lock lock(mutex_);
    reaped_ = true;
  }
  started.set_value(worker.ok() ? OkStatus() : worker.status());
  if (worker.ok()) {
    Hear();
    Lose(kEnded);
    Reap();
  }
  const std::scoped_lock lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

void WorkerProcess::Hear() {
  std::array<pollfd, 2> files = {pollfd{channel_->socket(), POLLIN, 0},
                                 pollfd{stderr_pipe_.number(), POLLIN, 0}};
  while (true) {
    // One that was killed may be held by the driver, its socket open: it is not waited for.
    if (::poll(files.data(), files.size(), kLookForEnd) < 0 && errno != EINTR) return;
    if (lost()) return;
    if (files[1].revents != 0 && !TakeErrorText()) files[1].fd = -1;
    if (files[0].revents == 0) continue;
    const Status status = TakeMessage();
    if (status.ok()) continue;
    if (status.code() == StatusCode::kDataLoss)
      Lose("it sends what cannot be: " + status.message());
    return;
  }
}

Status WorkerProcess::TakeMessage() {
  VERDICT_ASSIGN_OR_RETURN(ChannelMessage message, channel_->Receive());
  Answer answer;
  if (!answer.reply.ParseFromString(message.body)) return DataLoss("an answer cannot be parsed");
  answer.payloads = std::move(message.payloads);
  const uint64_t id = answer.reply.id();
  const bool is_log = answer.reply.is_log();
  if (is_log && id == 0) {
    if (log_) log_(answer.reply.text());
    return OkStatus();
  }
  std::unique_lock lock(mutex_);
  const auto found = calls_.find(id);
  if (found == calls_.end()) return OkStatus();  // of a call that was given up
  Pending& call = *found->second;
  if (is_log) {
    if (call.log == nullptr || !*call.log) return OkStatus();
    call.in_log = true;  // so that the caller stays
    lock.unlock();
    (*call.log)(answer.reply.text());
    lock.lock();
    call.in_log = false;
  } else {
    const bool lost = answer.reply.lost();
    call.answer = std::move(answer);
    call.done = true;
    calls_.erase(found);
    if (lost) LoseLocked("its device is lost");
  }
  changed_.notify_all();
  return OkStatus();
}

bool WorkerProcess::TakeErrorText() {
  std::array<char, 4096> bytes{};
  while (true) {
    const ssize_t count = ::read(stderr_pipe_.number(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) return false;
    for (const char c : std::span(bytes).first(static_cast<size_t>(count))) {
      if (c != '\n') error_line_ += c;
      if (c == '\n' || error_line_.size() >= kMaxErrorLine) TakeErrorLine();
    }
  }
}

void WorkerProcess::TakeErrorLine() {
  if (error_line_.empty()) return;
  if (log_) log_("device worker: " + error_line_);
  const std::scoped_lock lock(mutex_);
  last_error_line_ = std::exchange(error_line_, {});
}

std::optional<std::string> WorkerProcess::TryReap() {
  const std::scoped_lock lock(mutex_);  // nobody kills a process that may be another one already
  int status = 0;
  const int ended = ::waitpid(pid_, &status, WNOHANG);
  if (ended == 0) return std::nullopt;
  reaped_ = true;
  // Somebody else in this process may have waited for all children.
  return ended == pid_ ? HowItEnded(status) : "has ended";
}

void WorkerProcess::Reap() {
  std::optional<std::string> how;
  const auto until = std::chrono::steady_clock::now() + kTimeToDie;
  while (!(how = TryReap())) {
    if (std::chrono::steady_clock::now() > until) break;
    std::this_thread::sleep_for(milliseconds(1));
  }
  TakeErrorText();
  TakeErrorLine();
  std::string line;
  {
    const std::scoped_lock lock(mutex_);
    if (ending_) return;
    if (!how) how = "was killed and does not end";
    if (why_ == kEnded) {
      why_ = "it " + *how;
      line = "the device worker (process " + std::to_string(pid_) + ") " + *how;
    } else {
      line = "the device worker (process " + std::to_string(pid_) + ") was given up: " + why_;
    }
  }
  if (log_) log_(line);
}

Status WorkerProcess::Check() const {
  if (!lost()) return OkStatus();
  const std::scoped_lock lock(mutex_);
  return Unavailable("the device worker (process " + std::to_string(pid_) + ") is gone: " + why_ +
                     "; its device is lost until it is recovered");
}

void WorkerProcess::Lose(const std::string& why) {
  const std::scoped_lock lock(mutex_);
  LoseLocked(why);
}

void WorkerProcess::LoseLocked(const std::string& why) {
  if (lost()) return;
  why_ = why;
  lost_.store(true, std::memory_order_release);
  for (Mailbox* mailbox : mailboxes_) mailbox->Abandon();
  for (auto& [id, call] : calls_) {
    call->answer = Unavailable("the device worker (process " + std::to_string(pid_) +
                               ") is gone: " + why + "; its device is lost until it is recovered");
    call->done = true;
  }
  calls_.clear();
  changed_.notify_all();
  shared().lifeline.Wake();
  if (!reaped_ && pid_ > 0) ::kill(pid_, SIGKILL);
  if (channel_ != nullptr) ::shutdown(channel_->socket(), SHUT_RDWR);  // ends a read
}

bool WorkerProcess::reaped() const {
  const std::scoped_lock lock(mutex_);
  return reaped_;
}

bool WorkerProcess::WaitForEnd(milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return over_; });
}

Result<WorkerProcess::Answer> WorkerProcess::Call(proto::WorkerRequest request,
                                                  std::span<const Descriptor> payloads,
                                                  std::optional<milliseconds> timeout,
                                                  const Log& log) {
  Pending call;
  call.log = &log;
  std::unique_lock lock(mutex_);
  if (lost()) {
    lock.unlock();
    return Check();
  }
  const uint64_t id = ++last_call_;
  calls_.emplace(id, &call);
  lock.unlock();
  request.set_id(id);
  const Status sent = channel_->Send(request.SerializeAsString(), payloads);
  lock.lock();
  if (!sent.ok()) {
    calls_.erase(id);
    if (call.done) return std::move(call.answer);
    if (sent.code() == StatusCode::kDeadlineExceeded) LoseLocked("it takes no calls any more");
    if (sent.code() == StatusCode::kUnavailable) LoseLocked(kEnded);
    return sent.code() == StatusCode::kResourceExhausted ? sent : Unavailable(sent.message());
  }
  const auto ended = [&] { return call.done && !call.in_log; };
  if (!timeout) {
    changed_.wait(lock, ended);
  } else if (!changed_.wait_for(lock, *timeout, ended)) {
    LoseLocked("a call was not answered within " + std::to_string(timeout->count()) + " ms");
    changed_.wait(lock, ended);
  }
  lock.unlock();
  if (!call.answer.ok()) return call.answer.status();
  VERDICT_RETURN_IF_ERROR(ReadStatus(call.answer->reply.status()));
  return std::move(call.answer);
}

Result<uint32_t> WorkerProcess::AddRunner(Mailbox& mailbox) {
  VERDICT_RETURN_IF_ERROR(Check());
  const std::scoped_lock lock(mutex_);
  if (free_slots_.empty()) {
    return ResourceExhausted("a device worker has at most " + std::to_string(RunBoard::kSlots) +
                             " runners; close some, or use fewer streams");
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  mailboxes_.insert(&mailbox);
  if (lost()) mailbox.Abandon();
  return slot;
}

void WorkerProcess::RemoveRunner(Mailbox& mailbox, uint32_t slot, bool keep_slot) {
  const std::scoped_lock lock(mutex_);
  mailboxes_.erase(&mailbox);
  if (!keep_slot) free_slots_.push_back(slot);
}

}  // namespace verdict
