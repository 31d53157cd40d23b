// Of DeviceHostCore: who may be on the device, and who makes room.
#include <algorithm>
#include <utility>

#include "runtime/device_host_core.h"

namespace verdict {
namespace {

std::string Megabytes(uint64_t bytes) {
  return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

}  // namespace

bool DeviceHostCore::ChooseVictimsLocked(uint64_t bytes, std::vector<EntryPtr>& victims) const {
  if (bytes > limit_bytes_) return false;
  const uint64_t used = used_bytes_ + shared_bytes_;
  if (used <= limit_bytes_ - bytes) return true;
  uint64_t missing = used - (limit_bytes_ - bytes);
  const Clock::time_point idle_since = Clock::now() - std::chrono::milliseconds(options_.idle_ms);
  std::vector<std::pair<Clock::time_point, EntryPtr>> idle;
  for (const auto& [engine, entry] : entries_) {
    if (entry->state != State::kAttached || entry->busy) continue;
    const Clock::time_point last_used = entry->link->engine->last_used();
    if (last_used <= idle_since) idle.emplace_back(last_used, entry);
  }
  std::ranges::stable_sort(idle, {}, &std::pair<Clock::time_point, EntryPtr>::first);
  for (const auto& [last_used, entry] : idle) {
    victims.push_back(entry);
    if (entry->charged >= missing) return true;
    missing -= entry->charged;
  }
  victims.clear();
  return false;
}

bool DeviceHostCore::MayHaveRoomLocked(const Entry& entry) const {
  if (departures_ < entry.retry_at) return false;
  std::vector<EntryPtr> victims;
  return ChooseVictimsLocked(NeedLocked(entry), victims);
}

uint64_t DeviceHostCore::NeedLocked(const Entry& entry) const {
  // Others may have come meanwhile that need as much: then it is there.
  const uint64_t missing = entry.shared_with - std::min(entry.shared_with, shared_bytes_);
  return entry.estimate + std::min(entry.shared_for, missing);
}

void DeviceHostCore::ReleaseLocked(Entry& entry) {
  used_bytes_ -= entry.charged;
  entry.charged = 0;
}

void DeviceHostCore::DepartLocked(Entry& entry) {
  if (entry.charged > 0) ++departures_;
  ReleaseLocked(entry);
}

void DeviceHostCore::TakeOff(const EntryPtr& entry, const LinkPtr& link) {
  if (link == nullptr) return;
  if (const std::shared_ptr<const Engine> engine = entry->engine.lock()) {
    engine->device_slot().Detach(link.get());
  }
  if (link->engine == nullptr) return;
  link->engine->Close();
  MeasureShared();
}

void DeviceHostCore::MeasureShared() {
  const std::lock_guard measuring(measuring_);
  const Result<DeviceMemory> memory = device_->memory();
  std::lock_guard lock(mutex_);
  if (memory.ok()) {
    shared_bytes_ = memory->shared_bytes;
  } else if (device_->lost()) {
    shared_bytes_ = 0;  // nothing is left
  }
}

void DeviceHostCore::CloseLoaded(Lock& lock, Entry& entry, DeviceEngine& loaded) {
  const uint64_t shared_with = shared_bytes_, departures = departures_;
  const bool alone = operations_ == 1;
  lock.unlock();
  loaded.Close();
  MeasureShared();
  lock.lock();
  // Of what went while others came or went nobody knows whose it was.
  if (!alone || operations_ != 1 || departures_ != departures || device_->lost()) return;
  entry.shared_with = shared_with;
  entry.shared_for = shared_with - std::min(shared_with, shared_bytes_);
}

void DeviceHostCore::AttachWaitingLinkLocked(const EntryPtr& entry, const Engine& engine) {
  auto link = std::make_shared<DeviceLink>();
  link->on_use = [host = weak_from_this(), weak = std::weak_ptr(entry), self = link.get()] {
    const auto core = host.lock();
    const EntryPtr used = weak.lock();
    if (core != nullptr && used != nullptr) core->SessionUsed(used, self);
  };
  entry->link = link;
  engine.device_slot().Attach(std::move(link));
}

bool DeviceHostCore::MakeRoom(Lock& lock) {
  std::vector<EntryPtr> victims;
  if (!ChooseVictimsLocked(0, victims)) return false;
  for (const EntryPtr& victim : victims) {
    victim->busy = true;
    DepartLocked(*victim);
  }
  for (const EntryPtr& victim : victims) {
    const LinkPtr link = std::exchange(victim->link, nullptr);
    lock.unlock();
    TakeOff(victim, link);
    {
      const std::shared_ptr<const Engine> engine = victim->engine.lock();
      std::lock_guard again(mutex_);
      victim->state = State::kEvicted;
      victim->reason = "it was idle, and another engine needed the room";
      victim->busy = false;
      ++totals_.evictions;
      if (engine != nullptr && !stop_) AttachWaitingLinkLocked(victim, *engine);
      changed_.notify_all();
    }
    lock.lock();
  }
  return true;
}

void DeviceHostCore::Prune(Lock& lock) {
  std::vector<EntryPtr> gone;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const EntryPtr& entry = it->second;
    if (entry->engine.expired() && !entry->busy) {
      entry->busy = true;
      gone.push_back(entry);
      it = entries_.erase(it);
    } else {
      ++it;
    }
  }
  if (gone.empty()) return;
  ++operations_;
  lock.unlock();
  // Whoever lets go of an engine closes its programs; here that is waited for.
  for (const EntryPtr& entry : gone) TakeOff(entry, entry->link);
  lock.lock();
  --operations_;
  for (const EntryPtr& entry : gone) DepartLocked(*entry);
  changed_.notify_all();
}

Result<std::shared_ptr<DeviceEngine>> DeviceHostCore::LoadChecked(
    const Engine& engine, const DevicePlan& plan, const DeviceEngineOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<DeviceEngine> loaded,
                           DeviceEngine::Load(device_, engine, plan, options));
  VERDICT_RETURN_IF_ERROR(loaded->CheckGolden(engine).WithContext("checked on the device"));
  if (options.prepare) VERDICT_RETURN_IF_ERROR(options.prepare(*loaded));
  return loaded;
}

void DeviceHostCore::Load(const EntryPtr& entry) {
  // An engine that is let go of by everybody else meanwhile leaves the device in here.
  LoadEngine(entry, entry->engine.lock());
  std::lock_guard lock(mutex_);
  entry->busy = false;
  changed_.notify_all();
}

void DeviceHostCore::LoadEngine(const EntryPtr& entry,
                                const std::shared_ptr<const Engine>& engine) {
  std::shared_ptr<const DevicePlan> plan;
  DeviceEngineOptions options;
  const auto wait_for_room = [&](State state, const std::string& reason) {
    entry->state = state;
    entry->reason = reason + "; the CPU plan answers until there is room";
    if (!entry->wants_load && !stop_) AttachWaitingLinkLocked(entry, *engine);
  };
  {
    Lock lock(mutex_);
    if (engine == nullptr || stop_) return;
    if (state_ != DeviceHost::State::kHealthy) {
      entry->state = State::kLost;
      entry->reason = "the device is lost: " + totals_.last_fault;
      return;
    }
    options = entry->options;
    plan = entry->plan;
    const uint64_t need = NeedLocked(*entry);
    const bool came_back = entry->state == State::kEvicted;
    ++operations_;
    entry->charged = need;
    used_bytes_ += need;
    if (!MakeRoom(lock)) {
      --operations_;
      ReleaseLocked(*entry);
      wait_for_room(came_back ? State::kEvicted : State::kRefused,
                    "no room on the device: it needs about " + Megabytes(need) + ", " +
                        Megabytes(used_bytes_ + shared_bytes_) + " of " + Megabytes(limit_bytes_) +
                        " are taken by engines in use");
      return;
    }
  }
  const DevicePlan* chosen =
      plan ? plan.get() : ChooseDevicePlan(engine->contents(), device_->info());
  Result<std::shared_ptr<DeviceEngine>> loaded = LoadChecked(*engine, *chosen, options);
  const uint64_t measured = loaded.ok() ? (*loaded)->device_bytes() : 0;
  MeasureShared();

  Lock lock(mutex_);
  Status status = loaded.status();
  if (status.ok()) {
    entry->estimate = measured;                // should it come again
    used_bytes_ += measured - entry->charged;  // modulo 2^64, as the sum fits
    entry->charged = measured;
    if (!MakeRoom(lock)) {
      status = ResourceExhausted("no room on the device: it takes " + Megabytes(measured) + ", " +
                                 Megabytes(used_bytes_ + shared_bytes_ - measured) + " of " +
                                 Megabytes(limit_bytes_) +
                                 " are taken by other engines and what all share");
    }
  }
  if (status.ok() && (state_ != DeviceHost::State::kHealthy || stop_)) {
    status = Unavailable(totals_.last_fault);
  }
  if (!status.ok()) {
    if (loaded.ok()) CloseLoaded(lock, *entry, **loaded);
    ReleaseLocked(*entry);
  }
  --operations_;
  if (status.ok()) {
    auto link = std::make_shared<DeviceLink>();
    link->engine = *loaded;
    link->on_failure = [host = weak_from_this(), weak = std::weak_ptr(entry),
                        self = link.get()](const Status& why) {
      const auto core = host.lock();
      const EntryPtr failed = weak.lock();
      if (core != nullptr && failed != nullptr) core->SessionFailed(failed, self, why);
    };
    entry->state = State::kAttached;
    entry->reason.clear();
    entry->wants_load = false;
    entry->link = link;
    engine->device_slot().Attach(std::move(link));
  } else if (status.code() == StatusCode::kResourceExhausted) {
    if (!loaded.ok()) entry->retry_at = departures_ + 1;
    wait_for_room(State::kRefused, status.message());
  } else if (status.code() == StatusCode::kFailedPrecondition && options_.rebuild && !plan) {
    entry->state = State::kBuilding;
    entry->reason = status.message() + " (that is under way)";
    entry->wants_build = true;
    entry->wants_load = false;
  } else if (!stop_) {
    entry->wants_load = false;
    FailedLocked(*entry, status);
  }
}

}  // namespace verdict
