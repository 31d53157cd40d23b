#include "tools/load_generator.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <new>
#include <string>
#include <thread>

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxRuns = size_t{1} << 26;

double Milliseconds(Clock::duration elapsed) {
  return std::chrono::duration<double, std::milli>(elapsed).count();
}

/// Returns the mean latency, to reserve room for the measurement.
Result<double> WarmUp(Session& session, std::span<const TensorView> inputs, double warm_up_ms) {
  const auto begin = Clock::now();
  double elapsed_ms = 0;
  int64_t runs = 0;
  do {
    VERDICT_RETURN_IF_ERROR(session.Run(inputs).status());
    ++runs;
    elapsed_ms = Milliseconds(Clock::now() - begin);
  } while (elapsed_ms < warm_up_ms);
  return elapsed_ms / static_cast<double>(runs);
}

struct Worker {
  std::unique_ptr<Session> session;
  std::vector<RunTime> runs;
  uint64_t device_runs = 0;
  Status status;
  bool out_of_memory = false;
};

Status Measure(Worker& worker, std::span<const TensorView> inputs, const LoadOptions& options,
               Clock::time_point begin) {
  Session& session = *worker.session;
  std::vector<RunTime>& runs = worker.runs;
  const double duration_ms = options.duration_s * 1e3;
  const auto least = static_cast<size_t>(options.iterations);
  double end_ms = 0;
  while ((end_ms < duration_ms || runs.size() < least) && runs.size() < kMaxRuns) {
    const auto start = Clock::now();
    const auto outputs = session.Run(inputs);
    const auto end = Clock::now();
    if (!outputs.ok()) return outputs.status();
    end_ms = Milliseconds(end - begin);
    runs.push_back({Milliseconds(start - begin), end_ms});
    if (session.last_backend() != "cpu") ++worker.device_runs;
  }
  return OkStatus();
}

/// Leaves the step's failure in the worker: an exception would end the process.
template <typename Step>
void Attempt(Worker& worker, const Step& step) {
  try {
    worker.status = step();
  } catch (const std::bad_alloc&) {
    worker.out_of_memory = true;  // there may be none for a message either
  }
}

}  // namespace

Result<LoadResult> GenerateLoad(const std::shared_ptr<const Engine>& engine,
                                std::span<const TensorView> inputs, const LoadOptions& options) {
  std::vector<Worker> workers(static_cast<size_t>(options.threads));
  for (Worker& worker : workers) {
    VERDICT_ASSIGN_OR_RETURN(worker.session, Session::Create(engine));
  }
  size_t running = 1;  // workers with a thread: the first has this one
  bool measures = false;
  Clock::time_point begin;
  std::barrier ready(options.threads, [&]() noexcept {
    measures = running == workers.size() && std::ranges::all_of(workers, [](const Worker& worker) {
                 return worker.status.ok() && !worker.out_of_memory;
               });
    begin = Clock::now();
  });
  const auto work = [&](Worker& worker) {
    Attempt(worker, [&]() -> Status {
      VERDICT_ASSIGN_OR_RETURN(const double mean_ms,
                               WarmUp(*worker.session, inputs, options.warm_up_ms));
      // Growing the vector would disturb the measurement.
      const double expected = 2 * options.duration_s * 1e3 / std::max(mean_ms, 1e-4);
      worker.runs.reserve(std::min(kMaxRuns, static_cast<size_t>(expected) + 1024));
      return OkStatus();
    });
    ready.arrive_and_wait();
    if (!measures) return;
    Attempt(worker, [&] { return Measure(worker, inputs, options, begin); });
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(workers.size());
    try {
      for (; running < workers.size(); ++running) {
        threads.emplace_back(work, std::ref(workers[running]));
      }
    } catch (const std::exception&) {  // no thread to be had, or no memory for one
      for (size_t i = running; i < workers.size(); ++i) ready.arrive_and_drop();
    }
    work(workers[0]);
  }
  for (const Worker& worker : workers) {
    VERDICT_RETURN_IF_ERROR(worker.status);
    if (worker.out_of_memory) return ResourceExhausted("out of memory; lower --streams");
  }
  if (running < workers.size()) {
    return ResourceExhausted("only " + std::to_string(running) + " of " +
                             std::to_string(workers.size()) +
                             " threads could be had (ulimit -u, ulimit -v); lower --streams");
  }
  LoadResult result;
  double first_ms = workers[0].runs.empty() ? 0 : workers[0].runs.front().start_ms;
  double last_ms = first_ms;
  for (const Worker& worker : workers) {
    first_ms = std::min(first_ms, worker.runs.front().start_ms);
    last_ms = std::max(last_ms, worker.runs.back().end_ms);
    result.runs.insert(result.runs.end(), worker.runs.begin(), worker.runs.end());
    result.device_runs += worker.device_runs;
  }
  result.wall_s = (last_ms - first_ms) / 1e3;
  return result;
}

}  // namespace verdict
