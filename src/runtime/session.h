#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/engine.h"

namespace verdict {

/// Runs an engine. Owns one arena; belongs to one thread at a time. After construction nothing is
/// allocated.
class Session {
 public:
  /// Errors: kResourceExhausted if the arena cannot be had.
  static Result<std::unique_ptr<Session>> Create(std::shared_ptr<const Engine> engine);
  ~Session();

  /// Computes the outputs for dense inputs in the engine's order; element types and shapes are
  /// checked against the engine and its profiles. Inputs are read in place and must be aligned to
  /// their element size. Returns: one view per output, in the engine's order, valid until the next
  /// Run (and, where an output is an input passed through, as long as that input). Errors:
  /// kInvalidArgument naming the input; kernels' errors naming the node.
  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs);

  const Engine& engine() const { return *engine_; }

 private:
  explicit Session(std::shared_ptr<const Engine> engine);
  Status Bind(std::span<const TensorView> inputs);

  std::shared_ptr<const Engine> engine_;
  std::unique_ptr<std::byte, void (*)(void*)> arena_;
  size_t profile_ = 0;                   // the profile that the current shapes use
  std::vector<TensorView> values_;       // per value of the graph
  std::vector<TensorView> node_inputs_;  // scratch of Run, sized for the widest node
  std::vector<TensorView> node_outputs_;
  std::vector<TensorView> outputs_;
  std::vector<Shape> input_shapes_;  // what Bind last laid out
  bool bound_ = false;
};

}  // namespace verdict
