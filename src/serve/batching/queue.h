#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "release/repository/model_config.h"
#include "serve/batching/job.h"

namespace verdict {

/// A job without a deadline takes its turn as if it were due after so long: those with deadlines
/// overtake it, but not for ever.
inline constexpr auto kPatience = std::chrono::milliseconds(250);

/// The jobs of one model that wait: by priority level, within a level by when they are due, behind
/// them those that were delayed. A pure data structure: the caller says what time it is, and
/// guards it.
class JobQueue {
 public:
  using Clock = Job::Clock;

  /// The levels, timeouts, bounds and order that the configuration asks for.
  explicit JobQueue(const DynamicBatching& config);

  /// The level that a job's priority stands for; 0 is the most urgent one.
  size_t LevelOf(const Job& job) const;
  /// True if a level has no room for one more.
  bool IsFull(size_t level) const;
  struct Ahead {
    int64_t jobs = 0;
    int64_t rows = 0;
  };
  /// What goes before a job if it came now. Stops counting at `enough` rows.
  Ahead CountAhead(const Job& job, Clock::time_point now, int64_t enough) const;

  /// What of this queue goes before a job of another one, which is of that level and due then.
  Ahead CountAhead(size_t level, Clock::time_point due, int64_t enough) const;
  /// When a job would be due if it came now.
  Clock::time_point DueOf(const Job& job, Clock::time_point now) const;

  /// Adds a job; its level must not be full. Throws std::bad_alloc, then nothing has changed; the
  /// other functions take no memory.
  ///
  /// cost: how long it takes alone; it expires when there is less left than that. held: it waits
  ///   for another one and has no turn until Release.
  void Push(std::shared_ptr<Job> job, Clock::time_point now, std::chrono::nanoseconds cost,
            bool held = false);
  /// Gives a held job its turn.
  void Release(Job& job);
  /// Takes a waiting job out. Cost: O(1), amortized.
  std::shared_ptr<Job> Remove(Job& job);

  /// When a job expires next; max: none does.
  Clock::time_point next_expiry() const;
  /// The next job that has expired by `now`, taken out; null: no more. Those that are only to be
  /// delayed are.
  std::shared_ptr<Job> TakeExpired(Clock::time_point now);

  /// Calls visit(Job&) in order of turn until it returns false.
  template <typename Visit>
  void ForEachReady(Visit visit) const {
    for (const Level& level : levels_) {
      for (const auto* order : {&level.ready, &level.delayed}) {
        for (const auto& [due, job] : *order) {
          if (!visit(*job)) return;
        }
      }
    }
  }

  size_t size() const { return all_.size(); }
  bool has_ready() const { return ready_ > 0; }
  /// Any job that waits; there must be one.
  Job& front() const { return *all_.front(); }

 private:
  struct Level {
    QueuePolicy policy;
    Job::ByTime ready, delayed;
    size_t jobs = 0;  // held ones too
    Ahead in_ready, in_delayed;
  };
  Clock::time_point DueOf(const Job& job, Clock::time_point queued,
                          Clock::time_point expires) const;
  Clock::time_point TimeoutOf(const Job& job, const Level& level, Clock::time_point queued) const;
  void Enter(Job& job);
  void Leave(Job& job);

  bool in_order_of_arrival_;
  size_t default_level_;
  std::vector<Level> levels_;  // most urgent first
  std::list<std::shared_ptr<Job>> all_;
  Job::ByTime expiries_;
  size_t ready_ = 0;
};

}  // namespace verdict
