#include "serve/batching/queue.h"

#include <algorithm>
#include <utility>

namespace verdict {
namespace {

using Clock = Job::Clock;
constexpr Clock::time_point kNever = Clock::time_point::max();
/// So many later jobs are passed from the back before the search turns to the front.
constexpr int kFromTheBack = 32;

/// `time` plus so many microseconds; never if that lies beyond all time.
Clock::time_point After(Clock::time_point time, uint64_t us) {
  const auto room = std::chrono::duration_cast<std::chrono::microseconds>(kNever - time).count();
  if (us >= static_cast<uint64_t>(room)) return kNever;
  return time + std::chrono::microseconds(us);
}

}  // namespace

JobQueue::JobQueue(const DynamicBatching& config)
    : in_order_of_arrival_(config.preserve_ordering),
      default_level_(config.default_priority_level == 0 ? 0 : config.default_priority_level - 1),
      levels_(std::max<size_t>(config.priority_levels, 1)) {
  default_level_ = std::min(default_level_, levels_.size() - 1);
  for (size_t i = 0; i < levels_.size(); ++i) {
    const auto own = config.priority_queue_policy.find(static_cast<uint32_t>(i) + 1);
    levels_[i].policy = config.priority_levels > 0 && own != config.priority_queue_policy.end()
                            ? own->second
                            : config.default_queue_policy;
  }
}

size_t JobQueue::LevelOf(const Job& job) const {
  return job.priority == 0 || job.priority > levels_.size() ? default_level_ : job.priority - 1;
}

bool JobQueue::IsFull(size_t level) const {
  const uint32_t bound = levels_[level].policy.max_queue_size;
  return levels_[level].jobs >= (bound == 0 ? kDefaultMaxQueueSize : bound);
}

/// When its time to wait is over by the level's timeout and its own.
Clock::time_point JobQueue::TimeoutOf(const Job& job, const Level& level,
                                      Clock::time_point queued) const {
  uint64_t us = level.policy.default_timeout_microseconds;
  if (level.policy.allow_timeout_override && job.timeout_us > 0) {
    us = us == 0 ? job.timeout_us : std::min(us, job.timeout_us);
  }
  return us == 0 ? kNever : After(queued, us);
}

Clock::time_point JobQueue::DueOf(const Job& job, Clock::time_point queued,
                                  Clock::time_point timeout) const {
  if (in_order_of_arrival_) return queued;
  return std::min({job.deadline, timeout, queued + kPatience});
}

Clock::time_point JobQueue::DueOf(const Job& job, Clock::time_point now) const {
  return DueOf(job, now, TimeoutOf(job, levels_[LevelOf(job)], now));
}

JobQueue::Ahead JobQueue::CountAhead(const Job& job, Clock::time_point now, int64_t enough) const {
  return CountAhead(LevelOf(job), DueOf(job, now), enough);
}

JobQueue::Ahead JobQueue::CountAhead(size_t level_index, Clock::time_point due,
                                     int64_t enough) const {
  const size_t own = std::min(level_index, levels_.size());
  Ahead ahead;
  for (size_t i = 0; i < own; ++i) {
    ahead.jobs += levels_[i].in_ready.jobs + levels_[i].in_delayed.jobs;
    ahead.rows += levels_[i].in_ready.rows + levels_[i].in_delayed.rows;
  }
  if (own == levels_.size()) return ahead;
  const Level& level = levels_[own];
  // Mostly a new job is among the last.
  Ahead counted = level.in_ready;
  int passed = 0;
  auto last = level.ready.rbegin();
  for (; last != level.ready.rend() && last->first > due && passed < kFromTheBack; ++last) {
    --counted.jobs;
    counted.rows -= last->second->rows;
    ++passed;
  }
  if (last != level.ready.rend() && last->first > due) {
    counted = {};
    for (const auto& [time, waiting] : level.ready) {
      if (time > due || ahead.rows + counted.rows >= enough) break;
      ++counted.jobs;
      counted.rows += waiting->rows;
    }
  }
  return {ahead.jobs + counted.jobs, ahead.rows + counted.rows};
}

void JobQueue::Push(std::shared_ptr<Job> job, Clock::time_point now, std::chrono::nanoseconds cost,
                    bool held) {
  Job& waiting = *job;
  waiting.level_ = LevelOf(waiting);
  Level& level = levels_[waiting.level_];
  const Clock::time_point timeout = TimeoutOf(waiting, level, now);
  waiting.times_ = {.queued = now, .started = {}, .computed = {}};
  waiting.ends_by_timeout_ = false;
  waiting.start_by_ = waiting.deadline == kNever ? kNever : waiting.deadline - cost;
  if (level.policy.timeout_action == QueuePolicy::TimeoutAction::kReject) {
    waiting.ends_by_timeout_ = timeout < waiting.start_by_;
    waiting.start_by_ = std::min(waiting.start_by_, timeout);
  }
  waiting.due_ = DueOf(waiting, now, timeout);
  waiting.expires_ = std::min(waiting.start_by_, timeout);
  Job::ByTime order, expiry;
  waiting.order_node_ = order.extract(order.emplace(waiting.due_, &waiting));
  if (waiting.expires_ != kNever) expiry.emplace(waiting.expires_, &waiting);
  waiting.in_all_ = all_.insert(all_.end(), std::move(job));
  if (!expiry.empty()) waiting.in_expiries_ = expiries_.insert(expiry.extract(expiry.begin()));
  ++level.jobs;
  waiting.place_ = Job::Place::kHeld;
  if (!held) Release(waiting);
}

void JobQueue::Release(Job& job) {
  VERDICT_CHECK(job.place_ == Job::Place::kHeld);
  job.place_ = Job::Place::kReady;
  Enter(job);
}

/// Into the order that its place says.
void JobQueue::Enter(Job& job) {
  Level& level = levels_[job.level_];
  const bool delayed = job.place_ == Job::Place::kDelayed;
  job.in_order_ = (delayed ? level.delayed : level.ready).insert(std::move(job.order_node_));
  Ahead& count = delayed ? level.in_delayed : level.in_ready;
  ++count.jobs;
  count.rows += job.rows;
  ++ready_;
}

void JobQueue::Leave(Job& job) {
  Level& level = levels_[job.level_];
  const bool delayed = job.place_ == Job::Place::kDelayed;
  job.order_node_ = (delayed ? level.delayed : level.ready).extract(job.in_order_);
  Ahead& count = delayed ? level.in_delayed : level.in_ready;
  --count.jobs;
  count.rows -= job.rows;
  --ready_;
}

std::shared_ptr<Job> JobQueue::Remove(Job& job) {
  VERDICT_CHECK(job.place_ != Job::Place::kNone);
  if (job.place_ != Job::Place::kHeld) Leave(job);
  if (job.expires_ != kNever) expiries_.erase(job.in_expiries_);
  --levels_[job.level_].jobs;
  job.place_ = Job::Place::kNone;
  job.order_node_ = {};
  std::shared_ptr<Job> taken = std::move(*job.in_all_);
  all_.erase(job.in_all_);
  return taken;
}

Clock::time_point JobQueue::next_expiry() const {
  return expiries_.empty() ? kNever : expiries_.begin()->first;
}

std::shared_ptr<Job> JobQueue::TakeExpired(Clock::time_point now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Job& job = *expiries_.begin()->second;
    if (job.start_by_ <= now) return Remove(job);
    // Its level delays; from now on only its deadline ends its waiting. A held one keeps its place
    // in its sequence.
    Job::ByTime::node_type expiry = expiries_.extract(job.in_expiries_);
    job.expires_ = job.start_by_;
    if (job.expires_ != kNever) {
      expiry.key() = job.expires_;
      job.in_expiries_ = expiries_.insert(std::move(expiry));
    }
    if (job.place_ == Job::Place::kReady) {
      Leave(job);
      job.place_ = Job::Place::kDelayed;
      Enter(job);
    }
  }
  return nullptr;
}

}  // namespace verdict
