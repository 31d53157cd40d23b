#include "serve/batching/sequence_store.h"

#include <utility>

namespace verdict {

using Clock = Job::Clock;

namespace {
constexpr uint64_t kLongestIdleUs = 100ULL * 365 * 86'400 * 1'000'000;  // more means never
}  // namespace

Result<bool> SequenceStore::Enter(Job& job, Clock::time_point now) {
  Expire(now);
  auto found = sequences_.find(job.sequence);
  if (found == sequences_.end()) {
    if (sequences_.size() >= config_.max_candidate_sequences) {
      if (idle_.empty()) {
        return ResourceExhausted("all " + std::to_string(config_.max_candidate_sequences) +
                                 " sequences of the model (max_candidate_sequences) are in use");
      }
      Forget(*idle_.front());
      ++evicted_;
    }
    std::list<Sequence*> place(1);
    found = sequences_.try_emplace(job.sequence).first;
    found->second.key = &found->first;
    found->second.place = place.begin();
    place.front() = &found->second;
    idle_.splice(idle_.end(), place);
    found->second.last_used = now;
  }
  Sequence& sequence = found->second;
  const bool behind = sequence.busy || !sequence.waiting.empty();
  try {
    job.in_sequence_ = sequence.waiting.insert(sequence.waiting.end(), &job);
  } catch (...) {
    if (!behind && sequence.memory == nullptr) Forget(sequence);
    throw;
  }
  job.of_sequence_ = &sequence;
  job.start_lost_ = std::exchange(sequence.start_lost, false);
  if (!behind) in_use_.splice(in_use_.end(), idle_, sequence.place);
  return behind;
}

bool SequenceStore::Knows(const std::string& key) const {
  const auto found = sequences_.find(key);
  return found != sequences_.end() && !found->second.start_lost;
}

void SequenceStore::LoseStart(const std::string& key) {
  const auto found = sequences_.find(key);
  if (found == sequences_.end()) return;
  Sequence& sequence = found->second;
  if (sequence.busy || !sequence.waiting.empty()) {
    sequence.start_lost = true;  // those that came before it go on
  } else {
    Forget(sequence);
  }
}

Job* SequenceStore::Leave(Job& job, Clock::time_point now) {
  Sequence& sequence = *std::exchange(job.of_sequence_, nullptr);
  const bool first = sequence.waiting.front() == &job;
  const auto next = sequence.waiting.erase(job.in_sequence_);
  if (job.sequence_start || job.start_lost_) {
    (next == sequence.waiting.end() ? sequence.start_lost : (*next)->start_lost_) = true;
  }
  return first && !sequence.busy ? NextOrIdle(sequence, now) : nullptr;
}

void SequenceStore::Begin(Job& job) {
  Sequence& sequence = *job.of_sequence_;
  VERDICT_CHECK(!sequence.busy && sequence.waiting.front() == &job);
  sequence.busy = true;
  sequence.waiting.pop_front();
  if (job.sequence_start || job.start_lost_) sequence.memory.reset();
}

Job* SequenceStore::End(Sequence& sequence, bool forget, Clock::time_point now) {
  sequence.busy = false;
  if (forget) sequence.memory.reset();
  return NextOrIdle(sequence, now);
}

Job* SequenceStore::NextOrIdle(Sequence& sequence, Clock::time_point now) {
  if (!sequence.waiting.empty()) return sequence.waiting.front();
  sequence.last_used = now;
  idle_.splice(idle_.end(), in_use_, sequence.place);
  if (sequence.memory == nullptr || sequence.start_lost) Forget(sequence);  // nothing to remember
  return nullptr;
}

void SequenceStore::Forget(Sequence& sequence) {
  idle_.erase(sequence.place);
  sequences_.erase(sequences_.find(*sequence.key));
}

void SequenceStore::Expire(Clock::time_point now) {
  while (next_expiry() <= now) {
    Forget(*idle_.front());
    ++expired_;
  }
}

Clock::time_point SequenceStore::next_expiry() const {
  const uint64_t idle_us = config_.max_sequence_idle_microseconds;
  if (idle_.empty() || idle_us >= kLongestIdleUs) return Clock::time_point::max();
  return idle_.front()->last_used + std::chrono::microseconds(idle_us);
}

}  // namespace verdict
