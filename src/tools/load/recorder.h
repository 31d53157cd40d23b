#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "tools/load/histogram.h"

namespace verdict::load {

enum class Protocol : uint8_t { kHttp, kGrpc, kGrpcStream };

/// How a request ended: the protocol's status code (HTTP's three digits, gRPC's 0 to 16), or:
inline constexpr int kClosed = -1;      // the connection ended before the answer did
inline constexpr int kTimedOut = -2;    // no answer within the time limit
inline constexpr int kMalformed = -3;   // what came is no answer of the protocol
inline constexpr int kRefused = -4;     // no connection could be made
inline constexpr int kUnanswered = -5;  // never sent, or not answered when the run ended
inline constexpr int kDropped = -6;     // never sent: its deadline passed before it could be

/// "200", "UNAVAILABLE", "closed", …
std::string EndingName(Protocol protocol, int ending);

/// Inverse of EndingName, in any case; gRPC's codes also as numbers. Returns false for what is
/// none.
bool ParseEnding(Protocol protocol, std::string_view name, int* ending);

/// True for 2xx and gRPC's OK.
bool IsSuccess(Protocol protocol, int ending);

/// The life of one request, in nanoseconds since the run began.
struct RequestTimes {
  int64_t intended_ns = 0;  // when the arrival process wanted it sent
  int64_t free_ns = 0;      // since when the connection that carried it was free
  int64_t sent_ns = 0;      // -1: never
  int64_t done_ns = 0;
};

/// What was measured, of one thread or of all.
struct Measurement {
  Histogram
      latency;  // intended -> done: successes, and requests that were given up (at least that)
  Histogram service;   // sent -> done: successes
  Histogram rejected;  // intended -> done: answers that are no success, and no gRPC call whose
                       // deadline ended it: that was given up
  Histogram lag;       // from when it could be sent to when it was: the generator's own delay
  std::map<int, uint64_t> endings;
  uint64_t in_time = 0;     // successes within the deadline, counted from the intended time
  uint64_t queued = 0;      // had to wait for a connection
  uint64_t reconnects = 0;  // connections that had to be made again
  uint64_t response_bytes = 0;
  int64_t last_done_ns = 0;
  int unexpected = 0;  // the first ending that was not allowed
  std::string unexpected_text;

  void Add(const Measurement& other);
  uint64_t requests() const;
};

/// One second of a thread, for the progress line.
struct Interval {
  Histogram latency;
  uint64_t succeeded = 0;
  uint64_t failed = 0;

  void Add(const Interval& other);
};

/// Collects one thread's requests. Threads: Record and the others may run at once.
class Recorder {
 public:
  /// begin_ns, end_ns: requests intended outside of [begin_ns, end_ns) are warm-up and count in
  /// intervals and answered() only. deadline_ns: 0 for none. allowed: endings that are no failure.
  Recorder(Protocol protocol, int64_t begin_ns, int64_t end_ns, int64_t deadline_ns,
           std::function<bool(int ending)> allowed);

  /// text: the answer's, for the message about the first ending that is not allowed.
  void Record(const RequestTimes& times, int ending, std::string_view text,
              uint64_t response_bytes);
  /// A connection that could not be made, at now_ns.
  void RecordRefused(int64_t now_ns, std::string_view text);
  void RecordReconnect();

  /// Answers so far, warm-up included.
  uint64_t answered() const;
  /// What came since the last call.
  void TakeInterval(Interval* out);
  Measurement measurement() const;

 private:
  void Note(int ending, std::string_view text);

  const Protocol protocol_;
  const int64_t begin_ns_;
  const int64_t end_ns_;
  const int64_t deadline_ns_;
  const std::function<bool(int)> allowed_;
  mutable std::mutex mutex_;
  Measurement total_;
  Interval interval_;
  uint64_t answered_ = 0;
};

}  // namespace verdict::load
