#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>

#include "runtime/device_worker/lifeline.h"

namespace verdict {

/// Where runs are announced: one in the memory that a server and its device worker share, with a
/// bit for each runner. Any of the worker's threads takes any runner's run, so that as few of them
/// as there are cores to spare (`spinners`) watch for all runners together, however many those are,
/// and the rest sleep.
///
/// The server trusts nothing in here: it only writes, and reads to decide whether to wake somebody.
class RunBoard {
 public:
  static constexpr uint32_t kSlots = 1024;

  struct Watch {
    uint32_t spin_us = 0;   // for how long after a run was announced; kForever
    uint32_t spinners = 1;  // how many at a time
  };
  static constexpr uint32_t kForever = UINT32_MAX;

  /// Server: announces a run of the runner in `slot`; wakes a thread if none is watching.
  void Post(uint32_t slot);

  /// Worker: waits for a run and takes it. Returns its slot; nothing once End was called. Threads:
  /// any.
  std::optional<uint32_t> Take(const Watch& watch);
  void End();

 private:
  std::optional<uint32_t> TryTake();
  bool StartSpinning(uint32_t spinners);
  bool AnyPending() const;

  alignas(64) std::atomic<uint32_t> posted_;    // counts; a futex
  alignas(64) std::atomic<uint32_t> sleeping_;  // threads
  std::atomic<uint32_t> spinning_;              // threads
  std::atomic<uint32_t> ended_;
  alignas(64) std::array<std::atomic<uint64_t>, kSlots / 64> pending_;
};

static_assert(std::atomic<uint64_t>::is_always_lock_free);

/// What a server and its device worker share beside the mailboxes; zeros at first.
struct SharedState {
  RunBoard board;
  alignas(64) Lifeline lifeline;  // the worker's main thread holds it
  std::atomic<uint32_t> pulse;    // the worker counts, as long as it does not hang
};

}  // namespace verdict
