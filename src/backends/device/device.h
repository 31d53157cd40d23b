#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "plan/plan.h"

namespace verdict {

// What runs whole graphs somewhere else than on the CPU: a device with its own memory and its own
// compiler. Implementations live in plugins (device_plugin.h), so nothing here needs more than what
// both sides of one build share.

/// A device as it was found.
struct DeviceInfo {
  std::string backend;      // "tensorrt"
  std::string name;         // "NVIDIA H100 80GB HBM3"
  std::string fingerprint;  // what a program depends on: "tensorrt 8.5.3 sm_90 driver 580.159.04"
  std::string versions;     // of all libraries, for people: "TensorRT 8.5.3, CUDA driver 13.0, …"
  std::string uuid;         // "GPU-…", as NVML writes it; empty if there is none
  int index = 0;
  uint64_t memory_bytes = 0;
};

/// How to build a program; what a device does not know it refuses by name.
struct DeviceBuildOptions {
  bool tf32 = true;  // products of float32 in TF32
  bool fp16 = false;
  bool bf16 = false;
  /// int8 by the device's own calibration: `calibration_cache` where it is not empty, else
  /// `samples`. A graph with QuantizeLinear and DequantizeLinear needs neither.
  bool int8 = false;
  std::string calibration_cache;  // in the device's own format; filled by a build that calibrates
  /// Each one input per graph input, in order, of the profile's opt shapes.
  std::span<const std::vector<Constant>> samples;
  int optimization_level = -1;                     // 0 to 5; -1: the device's own default
  std::map<std::string, uint64_t> memory_pools;    // "workspace" -> bytes
  std::vector<std::string> tactic_sources;         // "-CUDNN", "+CUBLAS"; empty: the default
  bool refittable = false;                         // Refit may give it other weights
  bool detailed_layers = true;                     // LayerInformation names tactics and formats
  std::vector<std::byte>* timing_cache = nullptr;  // read, and replaced by the one after the build
  std::function<void(const std::string&)> log;     // may be empty
};

/// A built program: bytes for Load, and what was found out beside.
struct DeviceBlob {
  std::vector<std::byte> bytes;
  std::string calibration_cache;  // of a build that calibrated; else empty
};

struct LayerTime {
  std::string layer;
  double milliseconds = 0;
};

/// One stream with an execution context: belongs to one thread at a time, which need not be the
/// same from the start of a run to its end.
class DeviceRunner {
 public:
  virtual ~DeviceRunner() = default;

  /// Starts a run: takes the inputs (of caller_memory: reads them until its end), computes, copies
  /// the outputs back. Shapes must lie in one of the program's profiles; inputs are dense, in the
  /// graph's order and of its types. Once it is OK, Finish has to follow. Errors: as Finish.
  virtual Status Start(std::span<const TensorView> inputs) = 0;

  /// Waits for the end of the run that was started, until then at most; a time that has passed:
  /// only looks. Returns: true if Finish need not wait.
  virtual bool Wait(std::chrono::steady_clock::time_point until) = 0;

  /// Waits for its end. Returns: one view per graph output, in memory of this runner, valid until
  /// its next run.
  /// Errors: kInvalidArgument: shapes or contents that this program cannot take (a CPU can say
  ///   whether they are wrong); kUnavailable: the device is lost for everybody, until Recover;
  ///   kDeadlineExceeded: it has not ended within the device's run timeout: lost too.
  virtual Result<std::span<const TensorView>> Finish() = 0;

  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) {
    VERDICT_RETURN_IF_ERROR(Start(inputs));
    return Finish();
  }

  /// Runs once with a clock around each layer (slower than Run).
  virtual Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs) = 0;
};

/// How a runner prepares: what it does once so that runs do not.
struct DeviceRunnerOptions {
  /// Input shapes (one each per graph input) that get a graph captured now, in order of size.
  std::vector<std::vector<Shape>> captured_shapes;
  /// Rows (extent 0 of every input and output) do not depend on each other, so that a run of fewer
  /// rows may use the next larger captured graph; what the other rows hold is not told.
  bool rows_independent = false;
  /// false: as the device's own interface has it, no captured graphs at all (for comparison).
  bool graphs = true;
  /// Where inputs of runs will lie, if that is always the same memory: the runner may pin it.
  /// Outlives the runner. May be empty.
  std::span<std::byte> caller_memory;
  /// Of each input of the graph, its place in there, where all runs will have it: the runner may
  /// read it there, and write there while no run is under way. Empty where caller_memory is.
  std::vector<std::span<std::byte>> caller_places;
};

/// A program on the device, with its weights: shared by its runners. Threads: any.
class DeviceProgram {
 public:
  virtual ~DeviceProgram() = default;
  virtual Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) = 0;
  /// Device memory that this program and its runners hold now, as far as it can be told; without
  /// what programs share (DeviceMemory).
  virtual uint64_t device_bytes() const = 0;
  /// A JSON text that lists the program's layers, as the device's own inspector writes it.
  virtual Result<std::string> LayerInformation() const = 0;
};

struct DeviceMemory {
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
  uint64_t shared_bytes = 0;  // what all programs share, as scratch: of no program's device_bytes
};

/// One device, opened. Threads: any; builds and loads of one device take turns.
///
/// When the device is lost (a run ended with kUnavailable, or kDeadlineExceeded), every run on it
/// fails so. Then: let go of all its runners and programs, call Recover, and load again.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;

  /// OK, or why the node cannot run here, in a few words. Asked for nodes of a graph that has
  /// passed the passes and holds inferred shapes.
  virtual Status Supports(const Graph& graph, const Node& node) const = 0;

  /// Compiles a graph all of whose nodes are supported. Errors: kInvalidArgument (an option),
  /// kUnimplemented (an option that this version does not have), kResourceExhausted, kInternal with
  /// the device's own message.
  virtual Result<DeviceBlob> Build(const Graph& graph, std::span<const Profile> profiles,
                                   const DeviceBuildOptions& options) = 0;

  /// Nobody wants the program any more that another thread builds: that Build fails soon, where it
  /// can be ended at all, and the device may be lost from then on.
  virtual void AbandonBuild() {}

  /// Loads what Build made of the same graph and profiles. The bytes come from a file: what cannot
  /// be of this graph is refused. Errors: kDataLoss (not such bytes), kFailedPrecondition (of
  /// another version or device), kResourceExhausted (memory).
  virtual Result<std::shared_ptr<DeviceProgram>> Load(std::span<const std::byte> bytes,
                                                      const Graph& graph,
                                                      std::span<const Profile> profiles) = 0;

  /// The same program with the weights of `graph`, which differs from the one that was built in the
  /// contents of its constants alone. Errors: kFailedPrecondition: not built as refittable, or a
  /// constant that the program has folded away.
  virtual Result<std::vector<std::byte>> Refit(std::span<const std::byte> bytes,
                                               const Graph& graph) = 0;

  virtual Result<DeviceMemory> memory() const = 0;
  virtual bool lost() const = 0;

  /// Begins anew after a loss. All programs and runners must be gone. Errors: kUnavailable: the
  /// device does not come back, or not yet; kUnimplemented: it never does in this process.
  virtual Status Recover() = 0;

  /// For drills: makes the device fail as hardware does, at once. kind: "trap" (a kernel that
  /// traps), "hang" (one that does not end within the run timeout), "oom" (the next Load finds no
  /// memory). Errors: kInvalidArgument: another kind.
  virtual Status InjectFault(const std::string& kind) = 0;
};

struct DeviceOptions {
  int index = 0;
  uint32_t run_timeout_ms = 2000;
  /// For how long after a run's start it is waited for without sleeping. In a device worker, which
  /// waits for all runs together: after the last start or end of any.
  uint32_t spin_us = 500;
  std::function<void(const std::string&)> log;  // the libraries' own warnings; may be empty
};

}  // namespace verdict
