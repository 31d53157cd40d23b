#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tools/load/process_usage.h"
#include "tools/load/worker.h"

namespace verdict::load {

/// What was run, in words, for the summary, the JSON document and the plot.
struct RunDescription {
  std::string target;  // "http://localhost:8000/v2/models/fraud"
  std::string inputs;  // "random, binary tensors, 64 different requests"
  std::vector<std::pair<std::string, std::string>> flags;  // as given, without secrets
};

/// What is sent when, and what is measured of it.
struct RunOptions {
  Protocol protocol = Protocol::kHttp;
  ArrivalKind arrivals = ArrivalKind::kClosed;
  double rate_per_s = 0;               // kPoisson, kConstant
  uint64_t seed = 1;                   // kPoisson
  std::span<const int64_t> replay_ns;  // kReplay
  int threads = 1;
  WorkerOptions worker;                  // connections and concurrency: of all threads together
  int64_t warmup_ns = 0;                 // sent like the rest, and not measured
  int64_t duration_ns = Arrivals::kEnd;  // of measuring
  uint64_t requests = UINT64_MAX;        // or so many measured ones
  int64_t deadline_ns = 0;               // 0: none
  std::function<bool(int ending)> allowed;
  int server_pid = 0;  // 0: none
};

/// One second of the run, warm-up included.
struct Second {
  int64_t end_ns = 0;
  double succeeded_per_s = 0;
  double failed_per_s = 0;
  int64_t p50_ns = 0;
  int64_t p99_ns = 0;
  int in_flight = 0;
};

/// Processor time between the beginning and the end of measuring.
struct CpuUse {
  double wall_s = 0;
  uint64_t answers = 0;  // that came meanwhile
  ProcessUsage self;
  std::optional<ProcessUsage> server;  // resident_bytes: at the end
  int64_t server_resident_before = 0;
};

struct RunResult {
  Measurement total;
  double wall_s = 0;  // from the beginning of measuring to the last answer, or its end if later
  CpuUse cpu;
  std::vector<Second> seconds;
  bool interrupted = false;
};

/// Makes the worker of one thread.
using WorkerMaker = std::function<std::unique_ptr<Worker>(const WorkerOptions& options, Pacer pacer,
                                                          Recorder& recorder)>;

/// Runs the load, one thread a worker, to its end or until `stop` is set. on_second: called once a
/// second from the caller's thread; may be empty. Errors: as Worker::Connect; kNotFound if there is
/// no process server_pid; kResourceExhausted without threads.
Result<RunResult> RunLoad(const RunOptions& options, const WorkerMaker& make_worker,
                          const std::function<void(const Second&)>& on_second,
                          const std::atomic<bool>& stop);

}  // namespace verdict::load
