#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "base/status.h"

namespace verdict {

class DeviceEngine;

/// What an engine is attached to.
struct DeviceLink {
  /// Null: it is not on the device now, but whoever took it off wants to know when it is used.
  std::shared_ptr<DeviceEngine> engine;
  /// Called by a session that has taken the engine off the device because a run failed with this
  /// status, in a way that the CPU plan does not explain: kUnavailable and kDeadlineExceeded where
  /// the device is lost. May be empty. Threads: any; not to wait for runs.
  std::function<void(const Status& why)> on_failure;
  /// Called once, by the first run while `engine` is null. May be empty. Threads: any.
  std::function<void()> on_use;
  mutable std::atomic<bool> used{false};

  /// Cost after the first call: a load.
  void NoteUse() const {
    if (used.load(std::memory_order_relaxed)) return;
    if (!used.exchange(true, std::memory_order_relaxed) && on_use) on_use();
  }
};

/// An engine's place for a device: empty at first, filled and emptied while sessions run. Threads:
/// any.
class DeviceSlot {
 public:
  DeviceSlot() = default;
  DeviceSlot(const DeviceSlot&) = delete;
  DeviceSlot& operator=(const DeviceSlot&) = delete;
  /// Closes the device engine that is attached.
  ~DeviceSlot();

  /// Grows with every change; 0 while nothing was ever attached. What sessions look at in every
  /// run: no lock, no shared line that anybody writes while nothing changes.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  /// Whether a device engine is attached. Cost: a load.
  bool attached() const { return attached_.load(std::memory_order_relaxed); }

  /// The link (null: none) and the generation it is of.
  std::shared_ptr<const DeviceLink> Get(uint64_t& generation) const;

  /// Puts a link in the place of whatever is there, which is not closed; null: empties.
  void Attach(std::shared_ptr<const DeviceLink> link);
  /// Empties it if that link is (still) there; true if it was.
  bool Detach(const DeviceLink* link);

 private:
  mutable std::mutex mutex_;  // guards link_ and changes of generation_
  std::shared_ptr<const DeviceLink> link_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> attached_{false};
};

}  // namespace verdict
