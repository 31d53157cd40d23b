#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/device_host.h"

namespace verdict {

/// What is behind DeviceHost. Owned by it, and kept alive by sessions that are just telling it
/// something.
///
/// One mutex guards all that is written here; no device call but lost(), no run, no wait for runs
/// and no callback happens under it. Two threads: one gets a lost device back and its engines onto
/// it; the other, at the lowest priority, builds plans again and brings back what had been taken
/// off for room.
class DeviceHostCore : public std::enable_shared_from_this<DeviceHostCore> {
 public:
  using State = DeviceAttachment::State;
  using Clock = std::chrono::steady_clock;

  DeviceHostCore(std::shared_ptr<Device> device, const DeviceHostOptions& options);

  Status Start();
  /// Ends the threads and takes all engines off.
  void Stop();

  DeviceAttachment Attach(const std::shared_ptr<const Engine>& engine, const std::string& name,
                          const DeviceEngineOptions& options);
  void Detach(const Engine& engine);
  DeviceAttachment attachment(const Engine& engine) const;
  DeviceHost::Totals totals() const;
  Status InjectFault(const std::string& kind);
  void WaitUntilIdle();
  const DeviceInfo& info() const { return device_->info(); }

 private:
  /// An engine that was given to Attach.
  struct Entry {
    std::weak_ptr<const Engine> engine;
    std::string name;
    DeviceEngineOptions options;
    std::shared_ptr<const DevicePlan> plan;  // as rebuilt here; null: the engine's own
    State state = State::kNone;
    std::string reason;
    std::shared_ptr<const DeviceLink> link;  // what was last put into the engine's slot
    uint64_t charged = 0;                    // bytes of the device that are reserved for it
    uint64_t estimate = 0;  // bytes that it will take: of its programs, or as measured before
    // As measured when a load found no room: what is shared with it, and how much of that goes
    // with it. 0: not known.
    uint64_t shared_with = 0, shared_for = 0;
    bool busy = false;  // one thread works on it
    bool wants_build = false;
    bool wants_load = false;   // the low thread is to load it
    bool wants_close = false;  // its runs fail, and the device is not lost
    uint64_t retry_at = 0;     // departures_ before which the device itself has no memory for it
  };
  using EntryPtr = std::shared_ptr<Entry>;
  using LinkPtr = std::shared_ptr<const DeviceLink>;
  using Lock = std::unique_lock<std::mutex>;

  // device_host.cc. "locked": the caller holds mutex_.
  EntryPtr FindLocked(const Engine& engine) const;
  DeviceAttachment DescribeLocked(const Entry& entry) const;
  void FailedLocked(Entry& entry, const Status& why);
  void MarkLostLocked(const Status& why);
  bool IdleLocked() const;
  /// Told by the sessions of an engine; `link`: through which.
  void SessionFailed(const EntryPtr& entry, const DeviceLink* link, const Status& why);
  void SessionUsed(const EntryPtr& entry, const DeviceLink* link);

  // device_admission.cc
  /// Loads an entry's plan, checks it and attaches it, or writes down why not. The caller has set
  /// `busy`; it is cleared in the end. Without lock.
  void Load(const EntryPtr& entry);
  void LoadEngine(const EntryPtr& entry, const std::shared_ptr<const Engine>& engine);
  Result<std::shared_ptr<DeviceEngine>> LoadChecked(const Engine& engine, const DevicePlan& plan,
                                                    const DeviceEngineOptions& options);
  /// Chooses whom to evict so that `bytes` more fit; nothing if that cannot be.
  bool ChooseVictimsLocked(uint64_t bytes, std::vector<EntryPtr>& victims) const;
  bool MayHaveRoomLocked(const Entry& entry) const;
  /// What it is expected to take: its own bytes, and those by which what is shared will grow.
  uint64_t NeedLocked(const Entry& entry) const;
  /// Closes what was loaded and cannot stay, and keeps in mind what was shared for it. Takes the
  /// lock off meanwhile; one of operations_ is the caller's.
  void CloseLoaded(Lock& lock, Entry& entry, DeviceEngine& loaded);
  /// Asks the device what its programs share, after one has come or gone. Without lock.
  void MeasureShared();
  /// Evicts idle engines until what is charged lies within the limit, and lets them wait to be
  /// used; none if that cannot be. Takes the lock off meanwhile; one of operations_ is the
  /// caller's.
  bool MakeRoom(Lock& lock);
  /// Takes an entry's engine off. Without lock; the entry is `busy` or belongs to nobody.
  void TakeOff(const EntryPtr& entry, const LinkPtr& link);
  void AttachWaitingLinkLocked(const EntryPtr& entry, const Engine& engine);
  void ReleaseLocked(Entry& entry);
  /// As ReleaseLocked, of an engine that was on the device: others may find room.
  void DepartLocked(Entry& entry);
  /// Forgets the entries whose engines are gone, once their memory is free. Takes the lock off
  /// meanwhile.
  void Prune(Lock& lock);

  // device_recovery.cc
  void RecoveryThread();
  void LowThread();
  /// Gets the device back; takes the lock off meanwhile.
  void Recover(Lock& lock);
  /// An engine that is to be loaded again, now that the device is there.
  EntryPtr NextLostLocked() const;
  /// Makes a plan for this device, then as Load.
  void Build(const EntryPtr& entry);
  EntryPtr NextForLowThreadLocked() const;
  /// Without lock.
  void Log(const std::string& line) const;

  const std::shared_ptr<Device> device_;
  const DeviceHostOptions options_;
  const uint64_t limit_bytes_;

  std::mutex measuring_;  // before mutex_: the answer that came last is the one that stays
  mutable std::mutex mutex_;
  /// Something has changed; all who wait look again.
  mutable std::condition_variable changed_;
  bool stop_ = false;
  bool building_ = false;  // the low thread is in a build of the device's
  DeviceHost::State state_ = DeviceHost::State::kHealthy;
  bool gone_ = false;          // the device is lost, and never comes back in this process
  int operations_ = 0;         // loads, builds and evictions that use the device now
  uint64_t used_bytes_ = 0;    // charged to engines
  uint64_t shared_bytes_ = 0;  // what all programs share, as the device told it last
  uint64_t departures_ = 0;    // engines that have left the device
  DeviceHost::Totals totals_;
  Clock::time_point last_recovery_;
  std::map<const Engine*, EntryPtr> entries_;
  std::thread recovery_thread_, low_thread_;
};

/// The bytes of a plan's programs, most of which are weights: least what it takes on the device.
uint64_t ProgramBytes(const DevicePlan& plan);

/// The plan of `contents` for this backend, one of this fingerprint first; null if there is none.
const DevicePlan* ChooseDevicePlan(const EngineContents& contents, const DeviceInfo& device);

}  // namespace verdict
