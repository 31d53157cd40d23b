#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/device_engine.h"
#include "runtime/device_outcome.h"
#include "runtime/device_slot.h"
#include "runtime/engine.h"

namespace verdict {

/// A run on a device that a session has begun and no longer waits for; or none. Another session of
/// the same engine goes on with it. Otherwise its end is waited for in the destructor.
class DeviceRun {
 public:
  DeviceRun() = default;
  DeviceRun(DeviceRun&& other) noexcept { Swap(other); }
  DeviceRun& operator=(DeviceRun&& other) noexcept {
    DeviceRun(std::move(other)).Swap(*this);
    return *this;
  }
  ~DeviceRun();

  explicit operator bool() const { return link_ != nullptr; }
  /// Whether there is something to go on with. Does not wait.
  bool CanGoOn() const { return link_->engine->CanGoOn(place_); }

 private:
  friend class SessionDevice;
  void Swap(DeviceRun& other) {
    std::swap(link_, other.link_);
    std::swap(place_, other.place_);
  }

  std::shared_ptr<const DeviceLink> link_;
  DeviceEngine::Place place_;
};

/// What a session needs to run on the device that its engine is attached to: the link it knows, and
/// memory for outputs. Belongs to the session's thread.
class SessionDevice {
 public:
  /// Takes up what is attached to the engine now; the memory for outputs is allocated the first
  /// time, or kept. Without memory nothing is taken up. Returns: the slot's generation.
  uint64_t Follow(const Engine& engine);

  /// Runs there. Returns: true if outputs() are the answer; false: the CPU plan has to find it, and
  /// whoever attached the engine has been told where the device failed.
  /// until, run: as Session::Run; if *run is set afterwards, the run goes on.
  bool Run(const Engine& engine, std::span<const TensorView> inputs,
           DeviceEngine::Clock::time_point until, DeviceRun* run);

  std::span<const TensorView> outputs() const { return outputs_; }
  /// What came of the last run.
  DeviceOutcome outcome() const { return outcome_; }
  /// The backend of the last run's answer; empty if it was not the device's.
  std::string_view answered_by() const;

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  bool MakeRoom(const DeviceEngine& device);
  bool RunAt(const std::shared_ptr<const DeviceLink>& link, const Engine& engine,
             std::span<const TensorView> inputs, DeviceEngine::Clock::time_point until,
             DeviceRun* run);

  std::shared_ptr<const DeviceLink> link_;
  std::shared_ptr<const DeviceLink> other_link_;  // of the last run, if another session began it
  DeviceOutcome outcome_ = DeviceOutcome::kNotThere;
  std::unique_ptr<std::byte, Free> memory_;
  std::vector<TensorView> outputs_;  // into memory_
  std::vector<size_t> capacities_;   // of each, bytes
};

}  // namespace verdict
