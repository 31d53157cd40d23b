#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/arena.h"
#include "runtime/engine.h"
#include "runtime/session_device.h"

namespace verdict {

/// Runs an engine, in an arena; belongs to one thread at a time. After construction nothing is
/// allocated, but for memory for a device's outputs when the engine has been attached to one.
class Session {
 public:
  /// arena: shared with other sessions of the same thread; null: one of its own. Errors:
  /// kResourceExhausted if the arena cannot be had. Threads: any, also while the thread of the
  /// arena runs other sessions.
  static Result<std::unique_ptr<Session>> Create(std::shared_ptr<const Engine> engine,
                                                 std::shared_ptr<Arena> arena = nullptr);
  ~Session();

  /// Computes the outputs for dense inputs in the engine's order; element types and shapes are
  /// checked against the engine and its profiles. Inputs are read in place and must be aligned to
  /// their element size. Returns: one view per output, in the engine's order, valid until the next
  /// Run of a session with the same arena (and, where an output is an input passed through, as long
  /// as that input).
  /// Where the engine is attached to a device it runs there; what the device cannot do, or fails
  /// to, the CPU plan does in the same call. Errors: kInvalidArgument naming the input; kernels'
  /// errors naming the node.
  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) {
    return Run(inputs, DeviceEngine::Clock::time_point::max(), nullptr);
  }
  /// The same, but waits for a device until then at most. *run: none, or a run of the same inputs
  /// that a session of this engine has begun, which is gone on with. If *run is set afterwards, the
  /// device is not done, there is no error, and the outputs are empty: go on with it, in any
  /// session of this engine.
  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs,
                                          DeviceEngine::Clock::time_point until, DeviceRun* run);

  const Engine& engine() const { return *engine_; }
  /// Who answered the last run: "cpu", or the device's backend ("tensorrt"). Valid until the next.
  std::string_view last_backend() const;
  /// What came of the device in it.
  DeviceOutcome device_outcome() const {
    return device_ == nullptr ? DeviceOutcome::kNotThere : device_->outcome();
  }

 private:
  explicit Session(std::shared_ptr<const Engine> engine);
  Status CheckInputs(std::span<const TensorView> inputs) const;
  Status ChooseProfile(std::span<const TensorView> inputs);
  Status PlaceOutputs(size_t step, std::span<const TensorView> inputs,
                      std::span<TensorView> outputs);
  Status RunStep(size_t step);
  Status RunBound();
  Status RunAndBind();
  void FollowDevice();

  TensorView& value(ValueId id) { return values_[static_cast<size_t>(id)]; }

  std::shared_ptr<const Engine> engine_;
  uint64_t device_generation_ = 0;         // of the engine's slot, as last seen
  std::unique_ptr<SessionDevice> device_;  // null while nothing was ever attached
  std::shared_ptr<Arena> arena_;
  size_t arena_bytes_ = 0;       // reserved there
  std::byte* memory_ = nullptr;  // where the arena was in the last run
  size_t profile_ = 0;           // the profile of the shapes last seen
  std::vector<Shape> input_shapes_;
  bool bound_ = false;              // everything below fits input_shapes_
  std::vector<TensorView> values_;  // per value of the graph

  /// A step's views lie at these places of step_inputs_ and step_outputs_.
  struct StepViews {
    size_t first_input = 0;
    size_t first_output = 0;
    bool is_view = false;
  };
  std::vector<StepViews> steps_;
  std::vector<TensorView> step_inputs_;
  std::vector<TensorView> step_outputs_;
  std::vector<TensorView> outputs_;
  std::vector<bool> depends_on_data_;    // per value: on the contents of inputs, not just shapes
  std::vector<TensorView> rule_inputs_;  // room for what a shape rule sees

  /// A view that points into the caller's memory and moves with every Run.
  struct External {
    TensorView* view;
    size_t input;
  };
  std::vector<External> externals_;
};

}  // namespace verdict
