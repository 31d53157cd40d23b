#include "observe/model_metrics.h"

#include <algorithm>
#include <utility>

namespace verdict {
namespace {

size_t BucketOf(uint64_t nanoseconds) {
  // Rounded up, so that 10,001 ns is not "at most 10 us".
  const uint64_t microseconds = nanoseconds / 1000 + (nanoseconds % 1000 != 0 ? 1 : 0);
  return static_cast<size_t>(
      std::lower_bound(kDurationBucketsUs.begin(), kDurationBucketsUs.end(), microseconds) -
      kDurationBucketsUs.begin());
}

}  // namespace

uint64_t ModelTotals::failed() const {
  uint64_t sum = 0;
  for (uint64_t count : failures) sum += count;
  return sum;
}

ModelMetrics::ModelMetrics(std::string model, std::string version, int workers)
    : model_(std::move(model)),
      version_(std::move(version)),
      slots_(static_cast<size_t>(workers)) {}

void QueueTotals::AddCountsOf(const QueueTotals& other) {
  sequences_evicted += other.sequences_evicted;
  sequences_expired += other.sequences_expired;
  late_runs += other.late_runs;
  for (size_t i = 0; i < rejected.size(); ++i) rejected[i] += other.rejected[i];
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i].Add(other.sizes[i]);
}

void ModelMetrics::RecordSuccess(int worker, const Rows& rows, uint64_t now_ms,
                                 const RequestTimes& times) {
  Slot& slot = slots_[static_cast<size_t>(worker)];
  slot.success.Add(1);
  slot.device_uses[static_cast<size_t>(rows.device)].Add(1);
  slot.inferences.Add(rows.request);
  if (rows.alone) slot.sizes.AddRun(rows.run, times.infer_ns);
  slot.sizes.AddRequest(rows.run, times.input_ns, times.output_ns);
  slot.last_inference_ms.Set(now_ms);
  slot.total_ns.Add(times.total_ns);
  slot.input_ns.Add(times.input_ns);
  slot.queue_ns.Add(times.queue_ns);
  slot.infer_ns.Add(times.infer_ns);
  slot.output_ns.Add(times.output_ns);
  slot.request_durations[BucketOf(times.total_ns)].Add(1);
  slot.input_durations[BucketOf(times.input_ns)].Add(1);
  slot.queue_durations[BucketOf(times.queue_ns)].Add(1);
  slot.infer_durations[BucketOf(times.infer_ns)].Add(1);
  slot.output_durations[BucketOf(times.output_ns)].Add(1);
}

void ModelMetrics::RecordFailure(int worker, FailureReason reason, uint64_t total_ns) {
  Slot& slot = slots_[static_cast<size_t>(worker)];
  slot.failures[static_cast<size_t>(reason)].Add(1);
  slot.failure_ns.Add(total_ns);
}

void ModelMetrics::SetQueue(std::function<QueueTotals()> read) {
  const std::lock_guard lock(mutex_);
  if (read_queue_) past_.AddCountsOf(read_queue_());
  read_queue_ = std::move(read);
}

void ModelMetrics::SetLoaded(bool ready, double load_seconds) {
  load_seconds_.store(load_seconds, std::memory_order_relaxed);
  ready_.store(ready, std::memory_order_relaxed);
}

ModelTotals ModelMetrics::Sum() const {
  ModelTotals sum;
  for (const Slot& slot : slots_) {
    for (size_t i = 0; i < kNumDeviceUses; ++i) sum.device_uses[i] += slot.device_uses[i].value();
    sum.success += slot.success.value();
    sum.inferences += slot.inferences.value();
    slot.sizes.AddTo(&sum.sizes);
    sum.last_inference_ms = std::max(sum.last_inference_ms, slot.last_inference_ms.value());
    sum.failure_ns += slot.failure_ns.value();
    for (size_t i = 0; i < sum.failures.size(); ++i) sum.failures[i] += slot.failures[i].value();
    sum.times.total_ns += slot.total_ns.value();
    sum.times.input_ns += slot.input_ns.value();
    sum.times.queue_ns += slot.queue_ns.value();
    sum.times.infer_ns += slot.infer_ns.value();
    sum.times.output_ns += slot.output_ns.value();
    for (size_t i = 0; i < sum.request_durations.size(); ++i) {
      sum.request_durations[i] += slot.request_durations[i].value();
      sum.input_durations[i] += slot.input_durations[i].value();
      sum.queue_durations[i] += slot.queue_durations[i].value();
      sum.infer_durations[i] += slot.infer_durations[i].value();
      sum.output_durations[i] += slot.output_durations[i].value();
    }
  }
  const std::lock_guard lock(mutex_);
  if (read_queue_) sum.queue = read_queue_();
  sum.queue.AddCountsOf(past_);
  for (size_t i = 0; i < sum.sizes.size(); ++i) {
    sum.sizes[i].Add(sum.queue.sizes[i]);
    sum.executions += sum.sizes[i].runs;
  }
  return sum;
}

}  // namespace verdict
