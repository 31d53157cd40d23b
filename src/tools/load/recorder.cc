#include "tools/load/recorder.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/status.h"

namespace verdict::load {
namespace {

constexpr std::array<std::pair<int, std::string_view>, 6> kOwnEndings = {{
    {kClosed, "closed"},
    {kTimedOut, "timeout"},
    {kMalformed, "malformed"},
    {kRefused, "refused"},
    {kUnanswered, "unanswered"},
    {kDropped, "dropped"},
}};
constexpr int kGrpcCodes = 17;
constexpr size_t kMaxText = 512;

}  // namespace

std::string EndingName(Protocol protocol, int ending) {
  for (const auto& [own, name] : kOwnEndings) {
    if (own == ending) return std::string(name);
  }
  if (protocol == Protocol::kHttp || ending >= kGrpcCodes) return std::to_string(ending);
  return std::string(StatusCodeName(static_cast<StatusCode>(ending)));
}

bool ParseEnding(Protocol protocol, std::string_view name, int* ending) {
  const int last = protocol == Protocol::kHttp ? 999 : kGrpcCodes - 1;
  const int first = protocol == Protocol::kHttp ? 100 : 0;
  const auto same = [&](std::string_view other) {
    return name.size() == other.size() &&
           ::strncasecmp(name.data(), other.data(), name.size()) == 0;
  };
  for (const auto& [own, own_name] : kOwnEndings) {
    if (same(own_name)) {
      *ending = own;
      return true;
    }
  }
  if (protocol != Protocol::kHttp) {
    for (int code = 0; code <= last; ++code) {
      if (same(StatusCodeName(static_cast<StatusCode>(code)))) {
        *ending = code;
        return true;
      }
    }
  }
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), *ending);
  return error == std::errc() && end == name.data() + name.size() && *ending >= first &&
         *ending <= last;
}

bool IsSuccess(Protocol protocol, int ending) {
  return protocol == Protocol::kHttp ? ending >= 200 && ending < 300 : ending == 0;
}

void Measurement::Add(const Measurement& other) {
  latency.Add(other.latency);
  service.Add(other.service);
  rejected.Add(other.rejected);
  lag.Add(other.lag);
  for (const auto& [ending, count] : other.endings) endings[ending] += count;
  in_time += other.in_time;
  queued += other.queued;
  reconnects += other.reconnects;
  response_bytes += other.response_bytes;
  last_done_ns = std::max(last_done_ns, other.last_done_ns);
  if (unexpected_text.empty() && !other.unexpected_text.empty()) {
    unexpected = other.unexpected;
    unexpected_text = other.unexpected_text;
  }
}

uint64_t Measurement::requests() const {
  uint64_t count = 0;
  for (const auto& [ending, of_ending] : endings) {
    if (ending != kRefused) count += of_ending;
  }
  return count;
}

void Interval::Add(const Interval& other) {
  latency.Add(other.latency);
  succeeded += other.succeeded;
  failed += other.failed;
}

Recorder::Recorder(Protocol protocol, int64_t begin_ns, int64_t end_ns, int64_t deadline_ns,
                   std::function<bool(int ending)> allowed)
    : protocol_(protocol),
      begin_ns_(begin_ns),
      end_ns_(end_ns),
      deadline_ns_(deadline_ns),
      allowed_(std::move(allowed)) {}

void Recorder::Note(int ending, std::string_view text) {
  if (!total_.unexpected_text.empty() || allowed_(ending)) return;
  total_.unexpected = ending;
  total_.unexpected_text = text.empty() ? "(no text)" : std::string(text.substr(0, kMaxText));
}

void Recorder::Record(const RequestTimes& times, int ending, std::string_view text,
                      uint64_t response_bytes) {
  const std::lock_guard lock(mutex_);
  const bool success = IsSuccess(protocol_, ending);
  const int64_t latency_ns = times.done_ns - times.intended_ns;
  if (ending >= 0) ++answered_;
  if (success) {
    ++interval_.succeeded;
    interval_.latency.Record(latency_ns);
  } else {
    ++interval_.failed;
  }
  if (!success) Note(ending, text);
  if (times.intended_ns < begin_ns_ || times.intended_ns >= end_ns_) return;
  ++total_.endings[ending];
  // A call that its own deadline ended; to the microsecond, as deadlines are sent.
  const bool overdue = protocol_ != Protocol::kHttp && deadline_ns_ > 0 &&
                       ending == static_cast<int>(StatusCode::kDeadlineExceeded) &&
                       latency_ns > deadline_ns_ - 1000;
  if (success || overdue || ending == kTimedOut || ending == kUnanswered || ending == kDropped) {
    // Leaving out those that were given up would make the slowest the fastest.
    total_.latency.Record(latency_ns);
  } else if (ending >= 0) {
    total_.rejected.Record(latency_ns);
  }
  if (times.sent_ns < 0) return;
  if (success) {
    total_.service.Record(times.done_ns - times.sent_ns);
    if (deadline_ns_ == 0 || latency_ns <= deadline_ns_) ++total_.in_time;
  }
  if (times.free_ns > times.intended_ns) ++total_.queued;
  total_.lag.Record(times.sent_ns - std::max(times.intended_ns, times.free_ns));
  total_.response_bytes += response_bytes;
  total_.last_done_ns = std::max(total_.last_done_ns, times.done_ns);
}

void Recorder::RecordRefused(int64_t now_ns, std::string_view text) {
  const std::lock_guard lock(mutex_);
  ++interval_.failed;
  Note(kRefused, text);
  if (now_ns >= begin_ns_ && now_ns < end_ns_) ++total_.endings[kRefused];
}

void Recorder::RecordReconnect() {
  const std::lock_guard lock(mutex_);
  ++total_.reconnects;
}

uint64_t Recorder::answered() const {
  const std::lock_guard lock(mutex_);
  return answered_;
}

void Recorder::TakeInterval(Interval* out) {
  const std::lock_guard lock(mutex_);
  out->Add(interval_);
  interval_.latency.Clear();
  interval_.succeeded = interval_.failed = 0;
}

Measurement Recorder::measurement() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace verdict::load
