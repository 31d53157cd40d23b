#include "runtime/device_host.h"

#include <system_error>
#include <utility>

#include "runtime/device_host_core.h"

namespace verdict {

const DevicePlan* ChooseDevicePlan(const EngineContents& contents, const DeviceInfo& device) {
  const DevicePlan* chosen = nullptr;
  for (const DevicePlan& plan : contents.device_plans) {
    if (plan.backend != device.backend) continue;
    if (plan.fingerprint == device.fingerprint) return &plan;
    if (chosen == nullptr) chosen = &plan;
  }
  return chosen;
}

uint64_t ProgramBytes(const DevicePlan& plan) {
  uint64_t bytes = 0;
  for (const DevicePart& part : plan.parts) bytes += part.program.size();
  return bytes;
}

namespace {

uint64_t Limit(const DeviceHostOptions& options, const DeviceInfo& device) {
  if (options.memory_limit_bytes > 0) return options.memory_limit_bytes;
  return device.memory_bytes / 10 * 9;
}

bool MeansLost(const Status& status) {
  return status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kDeadlineExceeded;
}

}  // namespace

DeviceHostCore::DeviceHostCore(std::shared_ptr<Device> device, const DeviceHostOptions& options)
    : device_(std::move(device)),
      options_(options),
      limit_bytes_(Limit(options, device_->info())) {}

Status DeviceHostCore::Start() {
  try {
    recovery_thread_ = std::thread([this] { RecoveryThread(); });
    low_thread_ = std::thread([this] { LowThread(); });
  } catch (const std::system_error&) {
    return ResourceExhausted("no thread for the device; raise the process limit (ulimit -u)");
  }
  return OkStatus();
}

void DeviceHostCore::Stop() {
  bool builds = false;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    builds = building_;
    changed_.notify_all();
  }
  if (builds) device_->AbandonBuild();
  if (recovery_thread_.joinable()) recovery_thread_.join();
  if (low_thread_.joinable()) low_thread_.join();
  std::map<const Engine*, EntryPtr> entries;
  {
    std::lock_guard lock(mutex_);
    entries.swap(entries_);
  }
  for (const auto& [engine, entry] : entries) TakeOff(entry, entry->link);
}

DeviceHostCore::EntryPtr DeviceHostCore::FindLocked(const Engine& engine) const {
  const auto found = entries_.find(&engine);
  // An entry of an engine that is gone may have the address of a new one.
  if (found == entries_.end() || found->second->engine.expired()) return nullptr;
  return found->second;
}

DeviceAttachment DeviceHostCore::DescribeLocked(const Entry& entry) const {
  DeviceAttachment attachment;
  attachment.state = entry.state;
  attachment.reason = entry.reason;
  attachment.device_bytes = entry.state == State::kAttached ? entry.charged : 0;
  return attachment;
}

DeviceAttachment DeviceHostCore::Attach(const std::shared_ptr<const Engine>& engine,
                                        const std::string& name,
                                        const DeviceEngineOptions& options) {
  const DeviceInfo& info = device_->info();
  Lock lock(mutex_);
  Prune(lock);
  EntryPtr entry = FindLocked(*engine);
  if (entry == nullptr) {
    entry = std::make_shared<Entry>();
    entry->engine = engine;
    entries_[engine.get()] = entry;
  }
  if (entry->state == State::kBuilding) return DescribeLocked(*entry);
  changed_.wait(lock, [&] { return stop_ || (!entry->busy && !entry->wants_close); });
  if (stop_) return DescribeLocked(*entry);
  if (entry->state == State::kAttached || entry->state == State::kBuilding) {
    return DescribeLocked(*entry);
  }
  entry->name = name;
  entry->options = options;
  const DevicePlan* plan = ChooseDevicePlan(engine->contents(), info);
  if (plan == nullptr) {
    entry->state = State::kNone;
    entry->reason = "the engine holds no plan for backend '" + info.backend +
                    "'; build it with --backend " + info.backend;
    return DescribeLocked(*entry);
  }
  const bool fits = plan->fingerprint == info.fingerprint;
  if (entry->plan == nullptr && !(fits && options_.stored_plans)) {
    entry->reason = fits ? "plans of files are not taken"
                         : "the engine's plan is for '" + plan->fingerprint +
                               "', this device is '" + info.fingerprint + "'";
    entry->state = options_.rebuild ? State::kBuilding : State::kRefused;
    entry->reason += options_.rebuild ? ": it is being built again" : ": build the engine here";
    entry->wants_build = options_.rebuild;
    changed_.notify_all();
    return DescribeLocked(*entry);
  }
  if (entry->estimate == 0) entry->estimate = ProgramBytes(*plan);
  entry->busy = true;
  lock.unlock();
  Load(entry);
  lock.lock();
  return DescribeLocked(*entry);
}

void DeviceHostCore::Detach(const Engine& engine) {
  Lock lock(mutex_);
  const EntryPtr entry = FindLocked(engine);
  if (entry == nullptr) return;
  changed_.wait(lock, [&] { return !entry->busy; });
  if (FindLocked(engine) != entry) return;  // somebody else has done it meanwhile
  entries_.erase(&engine);
  entry->busy = true;  // for whoever has found it before
  ++operations_;
  const LinkPtr link = entry->link;
  lock.unlock();
  TakeOff(entry, link);
  lock.lock();
  --operations_;
  DepartLocked(*entry);
  entry->state = State::kNone;
  entry->link = nullptr;
  entry->busy = false;
  changed_.notify_all();
}

DeviceAttachment DeviceHostCore::attachment(const Engine& engine) const {
  std::lock_guard lock(mutex_);
  const EntryPtr entry = FindLocked(engine);
  if (entry != nullptr) return DescribeLocked(*entry);
  DeviceAttachment none;
  none.reason = "the engine was not given to the device";
  return none;
}

DeviceHost::Totals DeviceHostCore::totals() const {
  std::lock_guard lock(mutex_);
  DeviceHost::Totals totals = totals_;
  totals.state = state_;
  totals.limit_bytes = limit_bytes_;
  totals.shared_bytes = shared_bytes_;
  for (const auto& [engine, entry] : entries_) {
    if (entry->state != State::kAttached || entry->engine.expired()) continue;
    ++totals.attached;
    totals.used_bytes += entry->charged;
  }
  return totals;
}

void DeviceHostCore::MarkLostLocked(const Status& why) {
  if (state_ != DeviceHost::State::kHealthy) return;
  state_ = DeviceHost::State::kLost;
  ++totals_.faults;
  totals_.last_fault = why.message();
  changed_.notify_all();
}

Status DeviceHostCore::InjectFault(const std::string& kind) {
  VERDICT_RETURN_IF_ERROR(device_->InjectFault(kind));
  if (!device_->lost()) return OkStatus();  // not yet, or it has come back meanwhile
  std::lock_guard lock(mutex_);
  MarkLostLocked(Unavailable("a fault was injected: " + kind));
  return OkStatus();
}

/// A load or a run has failed so that the engine cannot be on the device.
void DeviceHostCore::FailedLocked(Entry& entry, const Status& why) {
  if (MeansLost(why) || device_->lost()) {
    MarkLostLocked(why);
    entry.state = State::kLost;
    entry.reason = "the device is lost: " + why.message();
    return;
  }
  entry.state = State::kRefused;
  entry.reason = why.message();
}

void DeviceHostCore::SessionFailed(const EntryPtr& entry, const DeviceLink* link,
                                   const Status& why) {
  std::lock_guard lock(mutex_);
  if (entry->link.get() != link || entry->state != State::kAttached) return;  // told already
  if (MeansLost(why) || device_->lost()) {
    MarkLostLocked(why);  // the thread that recovers takes off this engine with all others
    return;
  }
  FailedLocked(*entry, why);
  entry->wants_close = true;
  changed_.notify_all();
}

void DeviceHostCore::SessionUsed(const EntryPtr& entry, const DeviceLink* link) {
  std::lock_guard lock(mutex_);
  if (entry->link.get() != link) return;
  entry->wants_load = true;
  changed_.notify_all();
}

bool DeviceHostCore::IdleLocked() const {
  if (gone_) return operations_ == 0;
  if (state_ != DeviceHost::State::kHealthy || operations_ > 0) return false;
  for (const auto& [engine, entry] : entries_) {
    if (entry->engine.expired()) continue;
    if (entry->busy || entry->wants_build || entry->wants_close) return false;
    if (entry->wants_load && MayHaveRoomLocked(*entry)) return false;
    if (entry->state == State::kLost) return false;
  }
  return true;
}

void DeviceHostCore::WaitUntilIdle() {
  Lock lock(mutex_);
  changed_.wait(lock, [this] { return stop_ || IdleLocked(); });
}

Result<std::shared_ptr<DeviceHost>> DeviceHost::Open(const DeviceHostOptions& options) {
  auto device = options.isolation == DeviceIsolation::kProcess
                    ? OpenDeviceInWorker(options.backend, options.plugin_folder, options.device,
                                         options.worker)
                    : OpenDevice(options.backend, options.plugin_folder, options.device);
  if (!device.ok()) return device.status();
  return Create(*std::move(device), options);
}

Result<std::shared_ptr<DeviceHost>> DeviceHost::Create(std::shared_ptr<Device> device,
                                                       const DeviceHostOptions& options) {
  auto core = std::make_shared<DeviceHostCore>(std::move(device), options);
  std::shared_ptr<DeviceHost> host(new DeviceHost(core));
  VERDICT_RETURN_IF_ERROR(core->Start());
  return host;
}

DeviceHost::DeviceHost(std::shared_ptr<DeviceHostCore> core) : core_(std::move(core)) {}
DeviceHost::~DeviceHost() { core_->Stop(); }

const DeviceInfo& DeviceHost::info() const { return core_->info(); }
DeviceAttachment DeviceHost::Attach(const std::shared_ptr<const Engine>& engine,
                                    const std::string& name, const DeviceEngineOptions& options) {
  return core_->Attach(engine, name, options);
}
void DeviceHost::Detach(const Engine& engine) { core_->Detach(engine); }
DeviceAttachment DeviceHost::attachment(const Engine& engine) const {
  return core_->attachment(engine);
}
DeviceHost::Totals DeviceHost::totals() const { return core_->totals(); }
Status DeviceHost::InjectFault(const std::string& kind) { return core_->InjectFault(kind); }
void DeviceHost::WaitUntilIdle() { core_->WaitUntilIdle(); }

}  // namespace verdict
