#include "tools/load/run.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace verdict::load {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr auto kStartDelay = std::chrono::milliseconds(5);  // until all threads run

/// `total` in `parts` shares as equal as can be.
template <typename T>
T Share(T total, int part, int parts) {
  const T base = total / static_cast<T>(parts);
  return base + (static_cast<T>(part) < total % static_cast<T>(parts) ? 1 : 0);
}

Arrivals MakeArrivals(const RunOptions& options, int part) {
  switch (options.arrivals) {
    case ArrivalKind::kPoisson:
      return Arrivals::Poisson(options.rate_per_s, options.seed, part, options.threads);
    case ArrivalKind::kConstant:
      return Arrivals::Constant(options.rate_per_s, part, options.threads);
    case ArrivalKind::kClosed:
    case ArrivalKind::kReplay:
      break;
  }
  return Arrivals::Replay(options.replay_ns, part, options.threads);
}

struct Usage {
  int64_t at_ns = 0;
  uint64_t answers = 0;
  ProcessUsage self;
  std::optional<ProcessUsage> server;
};

/// The workers, their recorders, and who waits for them.
class Crew {
 public:
  Status Make(const RunOptions& options, const WorkerMaker& make_worker) {
    const int64_t begin = options.warmup_ns;
    const int64_t end =
        options.duration_ns > Arrivals::kEnd - begin ? Arrivals::kEnd : begin + options.duration_ns;
    for (int part = 0; part < options.threads; ++part) {
      recorders_.push_back(std::make_unique<Recorder>(options.protocol, begin, end,
                                                      options.deadline_ns, options.allowed));
      WorkerOptions worker = options.worker;
      worker.connections = Share(worker.connections, part, options.threads);
      worker.concurrency = Share(worker.concurrency, part, options.threads);
      worker.end_ns = end;
      worker.deadline_ns = options.deadline_ns;
      const uint64_t limit = options.requests == UINT64_MAX
                                 ? UINT64_MAX
                                 : Share<uint64_t>(options.requests, part, options.threads);
      Pacer pacer =
          options.arrivals == ArrivalKind::kClosed
              ? Pacer::Closed(begin, end, limit, part, options.threads)
              : Pacer::Open(MakeArrivals(options, part), begin, end, limit, options.deadline_ns);
      workers_.push_back(make_worker(worker, std::move(pacer), *recorders_.back()));
      VERDICT_RETURN_IF_ERROR(workers_.back()->Connect());
    }
    return OkStatus();
  }

  Status Start(SteadyClock::time_point start, const std::atomic<bool>& stop) {
    try {
      for (const auto& worker : workers_) {
        ++running_;
        threads_.emplace_back([this, start, &stop, raw = worker.get()] {
          raw->Run(start, stop);
          const std::lock_guard lock(mutex_);
          --running_;
          ended_.notify_one();
        });
      }
    } catch (const std::system_error&) {
      return ResourceExhausted("no thread to be had (ulimit -u); lower --threads");
    }
    return OkStatus();
  }

  /// True once all have ended; waits for that until `deadline`.
  bool WaitUntil(SteadyClock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return ended_.wait_until(lock, deadline, [this] { return running_ == 0; });
  }

  uint64_t answered() const {
    uint64_t sum = 0;
    for (const auto& recorder : recorders_) sum += recorder->answered();
    return sum;
  }

  Second TakeSecond(int64_t now_ns, int64_t last_ns) {
    interval_.latency.Clear();
    interval_.succeeded = interval_.failed = 0;
    for (const auto& recorder : recorders_) recorder->TakeInterval(&interval_);
    const double elapsed_s = static_cast<double>(std::max<int64_t>(now_ns - last_ns, 1)) / 1e9;
    Second second{.end_ns = now_ns,
                  .succeeded_per_s = static_cast<double>(interval_.succeeded) / elapsed_s,
                  .failed_per_s = static_cast<double>(interval_.failed) / elapsed_s,
                  .p50_ns = interval_.latency.Percentile(50),
                  .p99_ns = interval_.latency.Percentile(99)};
    for (const auto& worker : workers_) second.in_flight += worker->in_flight();
    return second;
  }

  Measurement Total() const {
    Measurement total;
    for (const auto& recorder : recorders_) total.Add(recorder->measurement());
    return total;
  }

 private:
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;
  std::condition_variable ended_;
  size_t running_ = 0;
  Interval interval_;
  std::vector<std::jthread> threads_;  // last: joined before what they use goes
};

Result<Usage> Measure(const Crew& crew, int server_pid, int64_t now_ns) {
  Usage usage{.at_ns = now_ns, .answers = crew.answered()};
  VERDICT_ASSIGN_OR_RETURN(usage.self, ReadProcessUsage(0));
  if (server_pid != 0) {
    VERDICT_ASSIGN_OR_RETURN(usage.server, ReadProcessUsage(server_pid));
  }
  return usage;
}

ProcessUsage Since(const ProcessUsage& end, const ProcessUsage& begin) {
  return {end.user_s - begin.user_s, end.kernel_s - begin.kernel_s, end.resident_bytes};
}

CpuUse Between(const Usage& begin, const Usage& end) {
  CpuUse use{.wall_s = static_cast<double>(end.at_ns - begin.at_ns) / 1e9,
             .answers = end.answers - begin.answers,
             .self = Since(end.self, begin.self)};
  if (begin.server && end.server) {
    use.server = Since(*end.server, *begin.server);
    use.server_resident_before = begin.server->resident_bytes;
  }
  return use;
}

}  // namespace

Result<RunResult> RunLoad(const RunOptions& options, const WorkerMaker& make_worker,
                          const std::function<void(const Second&)>& on_second,
                          const std::atomic<bool>& stop) {
  if (options.server_pid != 0) {
    const auto server = ReadProcessUsage(options.server_pid);
    if (!server.ok()) return server.status().WithContext("--server-pid");
  }
  std::atomic<bool> stop_workers = false;
  Crew crew;
  VERDICT_RETURN_IF_ERROR(crew.Make(options, make_worker));
  const auto start = SteadyClock::now() + kStartDelay;
  const Status started = crew.Start(start, stop_workers);
  if (!started.ok()) {
    stop_workers = true;
    return started;
  }
  const auto now_ns = [start] {
    return std::chrono::nanoseconds(SteadyClock::now() - start).count();
  };
  RunResult result;
  std::optional<Usage> begin;
  std::optional<Usage> end;
  const bool timed = options.duration_ns < Arrivals::kEnd - options.warmup_ns;
  const int64_t end_ns = timed ? options.warmup_ns + options.duration_ns : Arrivals::kEnd;
  int64_t last_second_ns = 0;
  int64_t next_second_ns = kNsPerSecond;
  for (bool ended = false; !ended;) {
    constexpr int64_t kStepNs = 50'000'000;  // how soon an interruption is noticed
    int64_t wake_ns = std::min(next_second_ns, now_ns() + kStepNs);
    if (!begin) wake_ns = std::min(wake_ns, options.warmup_ns);
    if (!end) wake_ns = std::min(wake_ns, end_ns);
    ended = crew.WaitUntil(start + std::chrono::nanoseconds(wake_ns));
    if (stop && !stop_workers) stop_workers = result.interrupted = true;
    const int64_t now = now_ns();
    // A server that ends meanwhile is the workers' to report.
    if (!begin && now >= options.warmup_ns) {
      if (auto usage = Measure(crew, options.server_pid, now); usage.ok()) begin = *usage;
    }
    if (begin && !end && (ended || now >= end_ns || result.interrupted)) {
      if (auto usage = Measure(crew, options.server_pid, now); usage.ok()) end = *usage;
    }
    if (now >= next_second_ns || ended) {
      result.seconds.push_back(crew.TakeSecond(now, last_second_ns));
      if (on_second) on_second(result.seconds.back());
      last_second_ns = now;
      next_second_ns = now + kNsPerSecond - now % kNsPerSecond;
    }
  }
  result.total = crew.Total();
  if (begin && end) result.cpu = Between(*begin, *end);
  const bool whole = timed && options.requests == UINT64_MAX && !result.interrupted &&
                     options.arrivals != ArrivalKind::kReplay;
  const int64_t last_ns = whole ? std::max(end_ns, result.total.last_done_ns)
                                : std::max(result.total.last_done_ns, options.warmup_ns + 1);
  result.wall_s = static_cast<double>(last_ns - options.warmup_ns) / 1e9;
  return result;
}

}  // namespace verdict::load
