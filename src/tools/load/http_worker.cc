#include "tools/load/http_worker.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "tools/load/infer_request_text.h"

namespace verdict::load {
namespace {

using Outcome = ByteStream::Outcome;

constexpr int64_t kSweepNs = 20'000'000;
constexpr int64_t kRetryNs = 100'000'000;
constexpr int64_t kConnectTimeoutNs = 10'000'000'000;
constexpr size_t kReadBytes = size_t{64} << 10;
constexpr int64_t kNsPerSecond = 1'000'000'000;
/// So much of a request is copied to write its deadline into it: all of most requests.
constexpr size_t kFirstBytes = size_t{16} << 10;

}  // namespace

HttpWorker::HttpWorker(const Endpoint& endpoint, const std::vector<std::string>& requests,
                       const WorkerOptions& options, Pacer pacer, Recorder& recorder)
    : endpoint_(endpoint),
      requests_(requests),
      options_(options),
      pacer_(std::move(pacer)),
      recorder_(recorder),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      connections_(static_cast<size_t>(options.connections)),
      buffer_(kReadBytes) {
  VERDICT_CHECK(!requests.empty());
  if (options_.deadline_ns > 0) deadline_offset_ = DeadlineOffset(requests_.front());
}

HttpWorker::~HttpWorker() {
  if (epoll_ >= 0) ::close(epoll_);
}

int64_t HttpWorker::Now() const {
  return std::chrono::nanoseconds(SteadyClock::now() - start_).count();
}

Status HttpWorker::Connect() {
  if (epoll_ < 0) return ResourceExhausted("no epoll descriptor: raise ulimit -n");
  start_ = SteadyClock::now();
  for (uint32_t i = 0; i < connections_.size() && connect_error_.empty(); ++i) {
    Open(i);
    if (i % 64 == 63) Wait(Now());  // servers accept so many at a time
  }
  while (connect_error_.empty() && idle_.size() < connections_.size()) {
    if (Now() > kConnectTimeoutNs) connect_error_ = "no connection within 10 s";
    Wait(Now() + kSweepNs);
  }
  if (connect_error_.empty()) return OkStatus();
  return Unavailable("the server at " + endpoint_.authority() + ": connection " +
                     std::to_string(idle_.size() + 1) + " of " +
                     std::to_string(connections_.size()) + ": " + connect_error_ +
                     "; is the server up, and does it allow so many (--max-connections)?");
}

void HttpWorker::Run(SteadyClock::time_point start, const std::atomic<bool>& stop) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);  // else the kernel may wake us 50 us late
  std::this_thread::sleep_until(start);
  start_ = start;
  running_ = true;
  last_alive_ns_ = 0;
  int64_t next_sweep_ns = 0;
  int64_t give_up_ns = options_.end_ns > Arrivals::kEnd - options_.timeout_ns
                           ? Arrivals::kEnd
                           : options_.end_ns + options_.timeout_ns;
  for (Connection& connection : connections_) connection.times.free_ns = INT64_MIN;
  while (true) {
    const int64_t now = Now();
    if (stop.load(std::memory_order_relaxed) && give_up_ns > now + kNsPerSecond) {
      pacer_.StopAt(now);
      give_up_ns = now + kNsPerSecond;
    }
    RecordDropped(pacer_, recorder_, now);
    if (pacer_.ended(now) && in_flight() == 0) break;
    if (now >= give_up_ns || now - last_alive_ns_ > options_.timeout_ns) break;
    SendDue(now);
    if (now >= next_sweep_ns) {
      Sweep(now);
      next_sweep_ns = now + kSweepNs;
    }
    const int64_t wake_ns =
        idle_.empty() ? next_sweep_ns : std::min(next_sweep_ns, pacer_.next_ns());
    Wait(options_.spin ? 0 : wake_ns);
  }
  GiveUp(Now());
  running_ = false;
}

void HttpWorker::Wait(int64_t wake_ns) {
  std::array<epoll_event, 128> events;
  const int64_t left = std::max<int64_t>(wake_ns - Now(), 0);
  const timespec patience{left / kNsPerSecond, left % kNsPerSecond};
  const int count = ::epoll_pwait2(epoll_, events.data(), events.size(), &patience, nullptr);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    OnEvent(event.data.u32, event.events);
  }
}

void HttpWorker::SendDue(int64_t now_ns) {
  while (!idle_.empty()) {
    const uint32_t index = idle_.front();
    if (connections_[index].state != State::kIdle) {  // it was closed, or is in use again
      idle_.pop_front();
      continue;
    }
    const auto due = pacer_.Take(now_ns);
    if (!due) return;
    idle_.pop_front();
    Send(index, *due, now_ns);
  }
}

void HttpWorker::Open(uint32_t index) {
  Connection& connection = connections_[index];
  connection.reader.Reset();
  connection.state = State::kConnecting;
  connection.answered = connection.half_closed = false;
  const Outcome outcome = connection.stream.Open(endpoint_);
  if (connection.stream.fd() >= 0) {
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u32 = index}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.stream.fd(), &event);
  }
  OnConnecting(index, outcome);
}

void HttpWorker::OnConnecting(uint32_t index, Outcome outcome) {
  Connection& connection = connections_[index];
  if (outcome == Outcome::kWait) return;
  const int64_t now = Now();
  if (outcome == Outcome::kOk) {
    connection.state = State::kIdle;
    connection.times.free_ns = now;
    last_alive_ns_ = now;
    idle_.push_back(index);
    return;
  }
  connection.state = State::kDown;
  connection.retry_ns = now + kRetryNs;
  const std::string error =
      outcome == Outcome::kClosed ? "closed in the TLS handshake" : connection.stream.error();
  connection.stream.Close();
  if (running_) {
    recorder_.RecordRefused(now, error);
  } else {
    connect_error_ = error;
  }
}

void HttpWorker::OnEvent(uint32_t index, uint32_t events) {
  Connection& connection = connections_[index];
  if ((events & EPOLLRDHUP) != 0) connection.half_closed = true;
  if (connection.state == State::kConnecting) OnConnecting(index, connection.stream.Finish());
  if (connection.state == State::kBusy && !connection.unsent.empty()) WriteRest(index);
  if (connection.state == State::kBusy || connection.state == State::kIdle) ReadAnswers(index);
}

void HttpWorker::Send(uint32_t index, const Pacer::Due& due, int64_t now_ns) {
  Connection& connection = connections_[index];
  connection.state = State::kBusy;
  connection.times.intended_ns = due.intended_ns;
  connection.times.sent_ns = now_ns;
  connection.unsent = requests_[static_cast<uint64_t>(due.index) % requests_.size()];
  if (options_.deadline_ns > 0) {
    connection.unsent_rest =
        connection.unsent.substr(std::min(kFirstBytes, connection.unsent.size()));
    connection.first = connection.unsent.substr(0, kFirstBytes);
    SetDeadline(&connection.first, deadline_offset_,
                BudgetUs(options_.deadline_ns, due.intended_ns, now_ns));
    connection.unsent = connection.first;
  }
  CountSent();
  WriteRest(index);
}

void HttpWorker::WriteRest(uint32_t index) {
  Connection& connection = connections_[index];
  while (!connection.unsent.empty()) {
    size_t count = 0;
    const Outcome outcome = connection.stream.Write(connection.unsent, &count);
    connection.unsent.remove_prefix(count);
    if (connection.unsent.empty()) connection.unsent = std::exchange(connection.unsent_rest, {});
    // What a server says before it refuses the rest is still to be read: the socket will tell.
    if (outcome != Outcome::kOk) return;
  }
}

void HttpWorker::ReadAnswers(uint32_t index) {
  Connection& connection = connections_[index];
  while (true) {
    size_t count = 0;
    const Outcome outcome = connection.stream.Read(buffer_, &count);
    if (outcome == Outcome::kWait) return;
    if (connection.state == State::kIdle) {  // an idle connection's end is no error
      Drop(index, kClosed, {});
      return;
    }
    if (outcome != Outcome::kOk) {
      const bool whole = connection.reader.Close() == ResponseReader::State::kDone;
      if (whole) {
        Complete(index);
      } else {
        Drop(index, kClosed,
             outcome == Outcome::kError ? connection.stream.error()
                                        : "the server closed the connection before it answered");
      }
      return;
    }
    size_t taken = 0;
    const auto state = connection.reader.Feed({buffer_.data(), count}, &taken);
    if (state == ResponseReader::State::kMalformed || taken != count) {
      const char* const error = connection.reader.error();
      Drop(index, kMalformed,
           taken != count && *error == '\0' ? "it is longer than it says" : error);
      return;
    }
    if (state == ResponseReader::State::kDone) {
      Complete(index);
      return;  // a further byte makes a new event
    }
    // The socket is empty, and an event follows; unless TLS holds more, or the end is there
    // already.
    const bool empty = count < buffer_.size() && endpoint_.tls() == nullptr;
    if (empty && !connection.half_closed) return;
  }
}

void HttpWorker::Complete(uint32_t index) {
  Connection& connection = connections_[index];
  const int64_t now = Now();
  connection.times.done_ns = now;
  recorder_.Record(connection.times, connection.reader.code(), connection.reader.body(),
                   connection.reader.body_bytes());
  CountEnded();
  last_alive_ns_ = now;
  connection.times.free_ns = now;
  connection.state = State::kIdle;
  connection.answered = true;
  if (connection.reader.closes() || connection.half_closed || !connection.unsent.empty()) {
    Drop(index, kClosed, {});
    return;
  }
  connection.reader.Reset();
  RecordDropped(pacer_, recorder_, now);
  if (const auto due = pacer_.Take(now)) {
    if (!idle_.empty()) connection.times.free_ns = INT64_MIN;  // it need not have waited for us
    Send(index, *due, now);
  } else {
    idle_.push_back(index);
  }
}

void HttpWorker::Drop(uint32_t index, int ending, std::string_view text) {
  Connection& connection = connections_[index];
  if (connection.state == State::kBusy) {
    connection.times.done_ns = Now();
    recorder_.Record(connection.times, ending, text, 0);
    CountEnded();
  }
  connection.unsent = connection.unsent_rest = {};
  connection.stream.Close();
  connection.state = State::kDown;
  if (!running_) {
    connect_error_ = "it closed the connection at once";
    return;
  }
  recorder_.RecordReconnect();
  // One that never was of use is not made again at once, lest we do nothing else.
  connection.retry_ns = Now() + kRetryNs;
  if (connection.answered) Open(index);
}

void HttpWorker::Sweep(int64_t now_ns) {
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    const Connection& connection = connections_[i];
    if (connection.state == State::kBusy &&
        now_ns - connection.times.sent_ns > options_.timeout_ns) {
      Drop(i, kTimedOut, "no answer within --timeout-ms");
    } else if (connection.state == State::kDown && now_ns >= connection.retry_ns) {
      Open(i);
    }
    if (connection.state == State::kBusy || connection.state == State::kIdle) {
      last_alive_ns_ = now_ns;
    }
  }
}

void HttpWorker::GiveUp(int64_t now_ns) {
  for (Connection& connection : connections_) {
    if (connection.state != State::kBusy) continue;
    connection.times.done_ns = now_ns;
    recorder_.Record(connection.times, kUnanswered, "no answer when the run ended", 0);
    CountEnded();
    connection.state = State::kDown;
  }
  RecordUnsent(pacer_, recorder_, now_ns);
}

}  // namespace verdict::load
