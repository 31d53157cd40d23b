#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "engine/engine_file.h"
#include "runtime/device_slot.h"

namespace verdict {

/// An input or output of an engine. `shape` has -1 for every extent that may vary.
struct TensorSpec {
  std::string name;
  DataType dtype = DataType::kUndefined;
  Shape shape;
  /// Kept by a server from request to request of a sequence: clients need not send or ask for it.
  bool is_state = false;
};

/// A loaded engine: verified, planned for this machine, immutable. Shared by any number of sessions
/// and threads.
class Engine {
 public:
  /// Loads and verifies a file; plans again from the IR where the stored plan was made for another
  /// machine (notice() then says so). Errors: as ReadEngineFile, PlanGraph and ResolveShapes: the
  /// input shapes alone must say what every shape is.
  static Result<std::shared_ptr<const Engine>> Load(const std::filesystem::path& path,
                                                    FileAccess access = FileAccess::kMap);
  /// From contents in memory (just compiled, or read).
  static Result<std::shared_ptr<const Engine>> FromContents(EngineContents contents);

  std::span<const TensorSpec> inputs() const { return inputs_; }
  std::span<const TensorSpec> outputs() const { return outputs_; }
  /// What runs: lowered from the graph that the file holds.
  const Graph& graph() const { return contents_.executable(); }
  const Plan& plan() const { return contents_.plan; }
  std::span<const Profile> profiles() const { return contents_.profiles; }
  const EngineContents& contents() const { return contents_; }
  /// Empty, or why the stored plan was not used.
  const std::string& notice() const { return notice_; }

  /// Per step of the plan, its tactic.
  std::span<const Tactic* const> tactics() const { return tactics_; }

  /// Where the engine's sessions run first, if anything is attached there; the engine itself stays
  /// as it is.
  DeviceSlot& device_slot() const { return device_slot_; }

  /// Runs the golden vectors. Errors: kDataLoss with the output and the difference where a float is
  /// further off than the vector's tolerance (at least 1e-3 for f16 and 1e-2 for bf16, about one
  /// unit in their last place); other types: where they are not equal.
  static Status CheckGolden(const std::shared_ptr<const Engine>& engine);

 private:
  Engine() = default;
  EngineContents contents_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::vector<const Tactic*> tactics_;
  std::string notice_;
  mutable DeviceSlot device_slot_;
};

}  // namespace verdict
