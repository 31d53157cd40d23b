#include "runtime/device_slot.h"

#include <utility>

#include "runtime/device_engine.h"

namespace verdict {

DeviceSlot::~DeviceSlot() {
  if (link_ != nullptr && link_->engine != nullptr) link_->engine->Close();
}

std::shared_ptr<const DeviceLink> DeviceSlot::Get(uint64_t& generation) const {
  std::lock_guard lock(mutex_);
  generation = generation_.load(std::memory_order_relaxed);
  return link_;
}

void DeviceSlot::Attach(std::shared_ptr<const DeviceLink> link) {
  {
    std::lock_guard lock(mutex_);
    link_.swap(link);
    attached_.store(link_ != nullptr && link_->engine != nullptr, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  // The former link goes here, outside the lock: it may be the last to hold its device engine.
}

bool DeviceSlot::Detach(const DeviceLink* link) {
  std::shared_ptr<const DeviceLink> former;
  std::lock_guard lock(mutex_);
  if (link_ == nullptr || link_.get() != link) return false;
  former.swap(link_);
  attached_.store(false, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  return true;
}

}  // namespace verdict
