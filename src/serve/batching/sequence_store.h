#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/status.h"
#include "release/repository/model_config.h"
#include "serve/batching/job.h"

namespace verdict {

/// What the server keeps of one sequence.
struct Sequence {
  const std::string* key = nullptr;     // in the store
  std::unique_ptr<std::byte[]> memory;  // its states, one after another; null: all zeros
  bool busy = false;                    // one of its jobs runs, and owns `memory`
  bool start_lost = false;              // what would come next was to follow a lost start
  std::list<Job*> waiting;              // in order of arrival; none but the first has its turn
  Job::Clock::time_point last_used;
  std::list<Sequence*>::iterator place;  // in the store's list of those in use or of the idle ones
};

/// The sequences of one model: their states, and whose turn it is. Bounded; the longest idle one
/// is forgotten first. The caller guards it.
///
/// A job that was to begin a sequence anew and does not get to its end takes the state before it
/// along: what follows it must not go on from there.
class SequenceStore {
 public:
  using Clock = Job::Clock;

  explicit SequenceStore(const SequenceBatching& config) : config_(config) {}

  /// Enters a job at the end of its sequence, which is made if there is none of its key. Returns:
  /// true if another one is before it. Errors: kResourceExhausted: the store is full of sequences
  /// that are in use. Throws std::bad_alloc, then nothing has changed.
  Result<bool> Enter(Job& job, Clock::time_point now);
  /// True if there is a sequence of that key that a new job may go on with.
  bool Knows(const std::string& key) const;
  /// A job of that key that was to begin the sequence anew is not entered.
  void LoseStart(const std::string& key);
  /// Takes out a job that has not begun. Returns: the job whose turn it now is, or null.
  Job* Leave(Job& job, Clock::time_point now);
  /// The first job of its sequence begins; without a state if it is not to go on with the one
  /// before.
  void Begin(Job& job);
  /// It has ended. Returns: the job whose turn it now is, or null.
  Job* End(Sequence& sequence, bool forget, Clock::time_point now);

  /// The sequence of a job that was entered.
  static Sequence* Of(const Job& job) { return job.of_sequence_; }

  /// Forgets the sequences that have been idle for too long.
  void Expire(Clock::time_point now);
  /// When the next one will have been; max: never.
  Clock::time_point next_expiry() const;

  size_t size() const { return sequences_.size(); }
  uint64_t evicted() const { return evicted_; }
  uint64_t expired() const { return expired_; }

 private:
  Job* NextOrIdle(Sequence& sequence, Clock::time_point now);
  void Forget(Sequence& sequence);

  SequenceBatching config_;
  std::unordered_map<std::string, Sequence> sequences_;
  std::list<Sequence*> idle_;    // neither busy nor waited for; the longest first
  std::list<Sequence*> in_use_;  // the others
  uint64_t evicted_ = 0;         // to make room
  uint64_t expired_ = 0;
};

}  // namespace verdict
