#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/status.h"
#include "tools/load/pacer.h"
#include "tools/load/recorder.h"

namespace verdict::load {

using SteadyClock = std::chrono::steady_clock;

/// What all workers of a run are told.
struct WorkerOptions {
  int connections = 1;
  int concurrency = 1;              // gRPC: requests in flight at most
  int64_t timeout_ns = 0;           // a request without an answer for so long is given up
  int64_t deadline_ns = 0;          // of a request, from its intended time; 0: none
  int64_t end_ns = Arrivals::kEnd;  // nothing is sent after end_ns + timeout_ns
  bool spin = false;                // never sleep: exact times of sending, at the cost of a core
};

/// One thread of the generator with its connections.
class Worker {
 public:
  virtual ~Worker() = default;

  /// Makes the connections. Errors: kUnavailable with what to do.
  virtual Status Connect() = 0;
  /// Sends what the pacer says and records what comes back, until all are answered or given up.
  /// start: the moment from which all times count. stop: set to end early.
  virtual void Run(SteadyClock::time_point start, const std::atomic<bool>& stop) = 0;
  /// Requests sent and not answered, for the progress line. Threads: any.
  int in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

 protected:
  void CountSent() { in_flight_.store(in_flight() + 1, std::memory_order_relaxed); }
  void CountEnded() { in_flight_.store(in_flight() - 1, std::memory_order_relaxed); }

  /// Requests whose deadline has passed before they could be sent.
  static void RecordDropped(Pacer& pacer, Recorder& recorder, int64_t now_ns);
  /// What a request has left of its deadline, at least 1 us: what goes along with it.
  static int64_t BudgetUs(int64_t deadline_ns, int64_t intended_ns, int64_t now_ns);
  /// Requests that were due by now_ns and never sent.
  static void RecordUnsent(Pacer& pacer, Recorder& recorder, int64_t now_ns);

 private:
  std::atomic<int> in_flight_{0};  // written by the worker's thread only
};

}  // namespace verdict::load
