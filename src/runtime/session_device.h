#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/device_outcome.h"
#include "runtime/device_slot.h"
#include "runtime/engine.h"

namespace verdict {

/// What a session needs to run on the device that its engine is attached to: the link it knows, and
/// memory for outputs. Belongs to the session's thread.
class SessionDevice {
 public:
  /// Takes up what is attached to the engine now; the memory for outputs is allocated the first
  /// time, or kept. Without memory nothing is taken up. Returns: the slot's generation.
  uint64_t Follow(const Engine& engine);

  /// Runs there. Returns: true if outputs() are the answer; false: the CPU plan has to find it, and
  /// whoever attached the engine has been told where the device failed.
  bool Run(const Engine& engine, std::span<const TensorView> inputs);

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

  std::shared_ptr<const DeviceLink> link_;
  DeviceOutcome outcome_ = DeviceOutcome::kNotThere;
  std::unique_ptr<std::byte, Free> memory_;
  std::vector<TensorView> outputs_;  // into memory_
  std::vector<size_t> capacities_;   // of each, bytes
};

}  // namespace verdict
