#include "serve/batching/batch_policy.h"

#include <algorithm>

namespace verdict {
namespace {

using Clock = Job::Clock;
using std::chrono::nanoseconds;
constexpr Clock::time_point kNever = Clock::time_point::max();

/// A waiting batch closes so much before the last moment for its deadlines: on a busy machine
/// threads wake late.
constexpr nanoseconds kWakeUp = std::chrono::milliseconds(1);

/// And runs vary.
nanoseconds Margin(nanoseconds cost) { return kWakeUp + cost / 8; }

/// `time` - `span` without going below all time.
Clock::time_point Before(Clock::time_point time, nanoseconds span) {
  return time == kNever ? kNever : time - span;
}

bool FitTogether(std::span<const TensorView> a, std::span<const TensorView> b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].data == nullptr || b[i].data == nullptr) continue;  // states are all alike
    if (!std::ranges::equal(a[i].shape.dims().subspan(1), b[i].shape.dims().subspan(1))) {
      return false;
    }
  }
  return true;
}

}  // namespace

void ChooseBatch(std::span<const BatchCandidate> candidates, const BatchLimits& limits,
                 const CostModel* cost, Clock::time_point now, BatchDecision* decision) {
  const auto estimate = [cost](int64_t rows) {
    return cost == nullptr ? nanoseconds(0) : cost->Estimate(rows);
  };
  const auto in_time = [&](int64_t rows, Clock::time_point deadline) {
    return deadline == kNever || now + estimate(rows) <= deadline;
  };
  BatchDecision& d = *decision;
  d.doomed.clear();
  d.taken.clear();
  d.rows = 0;
  d.run = false;
  d.wake = kNever;
  bool full = false;
  size_t preferred = 0;  // jobs of the largest preferred batch so far
  Clock::time_point earliest = kNever, close = kNever;
  for (size_t i = 0; i < candidates.size() && !full; ++i) {
    const BatchCandidate& job = candidates[i];
    if (!in_time(job.rows, job.deadline) || job.start_by <= now) {
      d.doomed.push_back(i);
      continue;
    }
    if (!d.taken.empty()) {
      if (!limits.uniform && !FitTogether(candidates[d.taken[0]].inputs, job.inputs)) {
        full = limits.in_order;
        continue;
      }
      if (d.rows + job.rows > limits.max_rows || !in_time(d.rows + job.rows, earliest)) {
        full = true;
        continue;
      }
      if (!in_time(d.rows + job.rows, job.deadline)) {  // a smaller batch makes it
        full = limits.in_order;
        continue;
      }
    }
    d.taken.push_back(i);
    d.rows += job.rows;
    earliest = std::min(earliest, job.deadline);
    close = std::min({close, job.queued + limits.max_delay, Before(job.start_by, kWakeUp)});
    if (std::ranges::binary_search(limits.preferred_rows, d.rows)) preferred = d.taken.size();
    full = !limits.combines || d.rows >= limits.max_rows;
  }
  if (d.taken.empty()) return;
  const nanoseconds time = estimate(d.rows);
  close = std::min(close, Before(earliest, time + Margin(time)));
  if (full || limits.max_delay.count() == 0 || close <= now) {
    d.run = true;
  } else if (preferred > 0) {
    d.run = true;
    while (d.taken.size() > preferred) {
      d.rows -= candidates[d.taken.back()].rows;
      d.taken.pop_back();
    }
  } else {
    d.wake = close;
  }
}

nanoseconds ExpectedTime(int64_t rows, const Backlog& backlog, const BatchLimits& limits,
                         const CostModel& cost) {
  if (!limits.combines) {
    const nanoseconds each =
        backlog.jobs == 0 ? nanoseconds(0) : cost.Estimate(backlog.rows / backlog.jobs);
    const nanoseconds wait = backlog.until_free + each * backlog.jobs / backlog.concurrency;
    return wait + wait / 4 + cost.Estimate(rows);
  }
  const int64_t batches = backlog.rows / limits.max_rows;
  const int64_t beside = backlog.rows % limits.max_rows + rows;
  const nanoseconds wait =
      backlog.until_free + cost.Estimate(limits.max_rows) * batches / backlog.concurrency;
  // Until its turn about as many come as wait now, and go with it.
  const bool alone = backlog.rows == 0 && backlog.until_free.count() == 0;
  const int64_t batch =
      alone ? rows : std::min(limits.max_rows, batches > 0 ? limits.max_rows : 2 * beside);
  return wait + wait / 4 + cost.Estimate(batch);
}

}  // namespace verdict
