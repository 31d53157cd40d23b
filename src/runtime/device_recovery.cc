// Of DeviceHostCore: its two threads.
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "runtime/device_host_core.h"
#include "runtime/rebuild_plan.h"

namespace verdict {
namespace {

constexpr int kLowestPriority = 19;
constexpr auto kLookForRoom = std::chrono::milliseconds(500);
/// How often an idle device is looked at: a worker can die with nothing running in it.
constexpr auto kLookForLoss = std::chrono::milliseconds(200);
constexpr uint32_t kLongestBackoff = 32;  // times the interval

}  // namespace

void DeviceHostCore::Log(const std::string& line) const {
  if (options_.device.log) options_.device.log(line);
}

void DeviceHostCore::RecoveryThread() {
  Lock lock(mutex_);
  const auto has_work = [this] {
    return stop_ || state_ == DeviceHost::State::kLost || NextLostLocked() != nullptr;
  };
  while (true) {
    while (!changed_.wait_for(lock, kLookForLoss, has_work)) {
      if (device_->lost()) MarkLostLocked(Unavailable("it was lost while nothing ran on it"));
    }
    if (stop_) return;
    if (state_ == DeviceHost::State::kLost) {
      Recover(lock);
      continue;
    }
    // Also one whose load another thread has begun before the device was back, and ended after.
    const EntryPtr entry = NextLostLocked();
    entry->busy = true;
    lock.unlock();
    Load(entry);
    lock.lock();
  }
}

DeviceHostCore::EntryPtr DeviceHostCore::NextLostLocked() const {
  for (const auto& [engine, entry] : entries_) {
    if (entry->state == State::kLost && !entry->busy && !entry->engine.expired()) return entry;
  }
  return nullptr;
}

void DeviceHostCore::Recover(Lock& lock) {
  std::vector<std::pair<EntryPtr, LinkPtr>> attached;
  for (const auto& [engine, entry] : entries_) {
    if (entry->link == nullptr || entry->link->engine == nullptr) continue;
    attached.emplace_back(entry, entry->link);
    entry->link = nullptr;
    if (entry->state == State::kAttached) {
      entry->state = State::kLost;
      entry->reason = "the device is lost: " + totals_.last_fault;
    }
    entry->wants_close = false;
    DepartLocked(*entry);
  }
  const std::string line = "the device is lost: " + totals_.last_fault + "; " +
                           std::to_string(attached.size()) + " engines go on with their CPU plans";
  lock.unlock();
  Log(line);
  for (const auto& [entry, link] : attached) TakeOff(entry, link);
  lock.lock();
  // What else is under way there will fail, and lets go of the device; nothing new begins.
  changed_.wait(lock, [this] { return stop_ || operations_ == 0; });
  if (stop_) return;
  state_ = DeviceHost::State::kRecovering;
  const std::chrono::milliseconds interval(std::max(options_.recovery_interval_ms, 1U));
  // One that was lost again at once is given time.
  auto wait = interval;
  Clock::time_point next = last_recovery_ + interval;
  while (!stop_) {
    changed_.wait_until(lock, next, [this] { return stop_; });
    if (stop_) return;
    lock.unlock();
    const Status status = device_->Recover();
    if (!status.ok()) Log("the device does not come back: " + status.message());
    lock.lock();
    if (status.ok()) break;
    if (status.code() == StatusCode::kUnimplemented) {
      // Nor will it; all go on with their CPU plans.
      state_ = DeviceHost::State::kLost;
      gone_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return stop_; });
      return;
    }
    next = Clock::now() + wait;
    wait = std::min(2 * wait, kLongestBackoff * interval);
  }
  if (stop_) return;
  last_recovery_ = Clock::now();
  state_ = DeviceHost::State::kHealthy;
  ++totals_.recoveries;
  changed_.notify_all();
  lock.unlock();
  Log("the device is back");
  lock.lock();
}

DeviceHostCore::EntryPtr DeviceHostCore::NextForLowThreadLocked() const {
  for (const auto& [engine, entry] : entries_) {
    if (entry->busy || entry->engine.expired()) continue;
    if (entry->wants_close) return entry;
    if (state_ != DeviceHost::State::kHealthy) continue;
    if (entry->wants_build) return entry;
    if (entry->wants_load && MayHaveRoomLocked(*entry)) return entry;
  }
  return nullptr;
}

void DeviceHostCore::LowThread() {
  ::setpriority(PRIO_PROCESS, 0, kLowestPriority);  // of this thread alone, on Linux
  Lock lock(mutex_);
  while (!stop_) {
    Prune(lock);
    const EntryPtr entry = NextForLowThreadLocked();
    if (entry == nullptr) {
      if (stop_) return;  // said while Prune had let go of the lock
      // Room appears by the clock alone, as engines fall idle or are destroyed.
      const bool waiting =
          std::ranges::any_of(entries_, [](const auto& item) { return item.second->wants_load; });
      if (waiting) {
        changed_.wait_for(lock, kLookForRoom);
      } else {
        changed_.wait(lock);
      }
      continue;
    }
    entry->busy = true;
    if (entry->wants_close) {
      const LinkPtr link = std::exchange(entry->link, nullptr);
      entry->wants_close = false;
      ++operations_;
      lock.unlock();
      TakeOff(entry, link);
      lock.lock();
      --operations_;
      DepartLocked(*entry);
      entry->busy = false;
      changed_.notify_all();
    } else {
      const bool builds = std::exchange(entry->wants_build, false);
      lock.unlock();
      builds ? Build(entry) : Load(entry);
      lock.lock();
    }
  }
}

void DeviceHostCore::Build(const EntryPtr& entry) {
  std::shared_ptr<const Engine> engine = entry->engine.lock();
  const DevicePlan* old =
      engine == nullptr ? nullptr : ChooseDevicePlan(engine->contents(), device_->info());
  if (old == nullptr) return Load(entry);  // which finds nothing to do
  std::string model;
  {
    std::lock_guard lock(mutex_);
    if (state_ != DeviceHost::State::kHealthy || stop_) {
      entry->wants_build = true;
      entry->busy = false;
      changed_.notify_all();
      return;
    }
    ++operations_;
    building_ = true;
    model = "model '" + entry->name + "': ";
  }
  Log(model + "its plan, for '" + old->fingerprint + "', is built again");
  Result<DevicePlan> plan = RebuildDevicePlan(engine->contents(), *old, *device_);
  Lock lock(mutex_);
  --operations_;
  building_ = false;
  if (plan.ok()) {
    entry->plan = std::make_shared<const DevicePlan>(*std::move(plan));
    entry->estimate = ProgramBytes(*entry->plan);
    ++totals_.rebuilds;
    changed_.notify_all();
    lock.unlock();
    engine.reset();
    Load(entry);
    return;
  }
  FailedLocked(*entry, plan.status().WithContext("no plan could be built for this device"));
  if (entry->state == State::kLost) {
    entry->state = State::kBuilding;
    entry->wants_build = true;  // once the device is back
  }
  const bool stopped = stop_;
  lock.unlock();
  if (!stopped) Log(model + "no plan: " + plan.status().message());
  lock.lock();
  entry->busy = false;
  changed_.notify_all();
}

}  // namespace verdict
