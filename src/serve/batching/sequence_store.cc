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
  if (!behind) in_use_.splice(in_use_.end(), idle_, sequence.place);
  return behind;
}

Job* SequenceStore::Leave(Job& job, Clock::time_point now) {
  Sequence& sequence = *std::exchange(job.of_sequence_, nullptr);
  const bool first = sequence.waiting.front() == &job;
  sequence.waiting.erase(job.in_sequence_);
  return first && !sequence.busy ? NextOrIdle(sequence, now) : nullptr;
}

void SequenceStore::Begin(Job& job) {
  Sequence& sequence = *job.of_sequence_;
  VERDICT_CHECK(!sequence.busy && sequence.waiting.front() == &job);
  sequence.busy = true;
  sequence.waiting.pop_front();
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
  if (sequence.memory == nullptr) Forget(sequence);  // there is nothing to remember
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
