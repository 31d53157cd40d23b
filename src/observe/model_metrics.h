#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "observe/batch_sizes.h"
#include "observe/local_counter.h"

namespace verdict {

/// Upper bounds (inclusive) of the duration histograms, in microseconds. Another one bucket counts
/// what is longer.
inline constexpr std::array<uint64_t, 28> kDurationBucketsUs = {
    1,      2,      5,      10,     20,      30,      50,      75,       100,   150,
    200,    300,    500,    750,    1'000,   1'500,   2'000,   3'000,    5'000, 7'500,
    10'000, 20'000, 30'000, 50'000, 100'000, 200'000, 500'000, 1'000'000};

/// Counts of durations per bucket; not cumulative.
using DurationCounts = std::array<uint64_t, kDurationBucketsUs.size() + 1>;

/// Why a request failed, in Triton's words.
enum class FailureReason { kRejected, kCanceled, kBackend, kOther };
inline constexpr std::array<std::string_view, 4> kFailureReasonNames = {"REJECTED", "CANCELED",
                                                                        "BACKEND", "OTHER"};

/// Where the time of one request went, in nanoseconds. `total` runs from the complete request to
/// the complete response; writing to the socket is not in it.
struct RequestTimes {
  uint64_t total_ns = 0;
  uint64_t input_ns = 0;   // reading the request's tensors
  uint64_t queue_ns = 0;   // waiting for a run
  uint64_t infer_ns = 0;   // running the engine
  uint64_t output_ns = 0;  // writing the response's tensors
};

/// Why a queue did not execute a request.
enum class QueueRejection {
  kFull,                 // no room in the queue, or for its sequence
  kDeadlineUnreachable,  // by the cost of a run or by what waits
  kExpired,              // its deadline came too near while it waited
  kTimeout,              // the queue's time to wait, or its own, was over
  kCancelled,            // its client went away while it waited
};
inline constexpr std::array<std::string_view, 5> kQueueRejectionNames = {
    "full", "deadline_unreachable", "expired", "timeout", "cancelled"};
using QueueRejections = std::array<uint64_t, kQueueRejectionNames.size()>;

/// What came of the device for a request that succeeded.
enum class DeviceUse {
  kAnswered,
  kNotThere,  // the model was not on it; the CPU has answered, as below
  kDeclined,  // shapes or contents that the model's plan there does not take
  kBusy,      // no stream was free in time, or the model was just being taken off
  kFailed,    // a run failed there
};
inline constexpr size_t kNumDeviceUses = 5;
using DeviceUses = std::array<uint64_t, kNumDeviceUses>;

/// What has been counted of a model's queue since it was made.
struct QueueTotals {
  uint64_t waiting = 0;         // requests, at this moment
  uint64_t sequences_held = 0;  // at this moment
  uint64_t sequences_evicted = 0;
  uint64_t sequences_expired = 0;
  uint64_t late_runs = 0;  // on a device, of those that no thread waited for any longer
  QueueRejections rejected{};
  BatchSizes::Totals sizes{};  // of its runs; not the tensors' times

  /// Adds what another one has counted; what it holds at this moment is left out.
  void AddCountsOf(const QueueTotals& other);
};

/// What has been counted for one version of one model since the server started.
struct ModelTotals {
  uint64_t success = 0;            // requests
  uint64_t inferences = 0;         // rows
  DeviceUses device_uses{};        // of the requests that succeeded
  uint64_t executions = 0;         // runs of the engine
  uint64_t last_inference_ms = 0;  // since the epoch; 0: never
  uint64_t failure_ns = 0;
  std::array<uint64_t, kFailureReasonNames.size()> failures{};
  RequestTimes times;  // sums over successful requests
  DurationCounts request_durations{};
  DurationCounts input_durations{};
  DurationCounts queue_durations{};
  DurationCounts infer_durations{};
  DurationCounts output_durations{};
  QueueTotals queue;           // of all queues that the version has had
  BatchSizes::Totals sizes{};  // of all runs

  uint64_t failed() const;
};

/// Counters of one version of one model, one set a worker thread. Look it up once when the model is
/// loaded, not per request.
class ModelMetrics {
 public:
  /// workers: number of threads that record; each uses its own number in [0, workers).
  ModelMetrics(std::string model, std::string version, int workers);

  const std::string& model() const { return model_; }
  const std::string& version() const { return version_; }

  /// Rows of a request, and of the run that answered it.
  struct Rows {
    uint64_t request = 1;
    uint64_t run = 1;
    /// It was a run of its own on the transport's thread, counted here; a queue counts its own.
    bool alone = true;
    DeviceUse device = DeviceUse::kNotThere;
  };
  /// Threads: the worker's own.
  void RecordSuccess(int worker, const Rows& rows, uint64_t now_ms, const RequestTimes& times);
  /// Threads: the worker's own.
  void RecordFailure(int worker, FailureReason reason, uint64_t total_ns);
  /// Where to read what the model's queue has counted; empty: it has none. Threads: any.
  void SetQueue(std::function<QueueTotals()> read);
  /// Threads: any.
  void SetLoaded(bool ready, double load_seconds);
  /// Threads: any.
  void SetReady(bool ready) { ready_.store(ready, std::memory_order_relaxed); }

  bool ready() const { return ready_.load(std::memory_order_relaxed); }
  double load_seconds() const { return load_seconds_.load(std::memory_order_relaxed); }

  /// The sum over all workers. Threads: any; a request being recorded may be seen in part.
  ModelTotals Sum() const;

 private:
  struct alignas(64) Slot {
    LocalCounter success, inferences, last_inference_ms, failure_ns;
    std::array<LocalCounter, kNumDeviceUses> device_uses;
    std::array<LocalCounter, kFailureReasonNames.size()> failures;
    LocalCounter total_ns, input_ns, queue_ns, infer_ns, output_ns;
    std::array<LocalCounter, kDurationBucketsUs.size() + 1> request_durations, input_durations,
        queue_durations, infer_durations, output_durations;
    BatchSizes sizes;
  };

  std::string model_;
  std::string version_;
  std::vector<Slot> slots_;
  mutable std::mutex mutex_;  // guards read_queue_ and past_
  std::function<QueueTotals()> read_queue_;
  QueueTotals past_;  // of queues that were replaced
  std::atomic<bool> ready_{false};
  std::atomic<double> load_seconds_{0};
};

}  // namespace verdict
