#pragma once

#include <NvInfer.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/tensorrt/device_core.h"
#include "backends/tensorrt/gpu_allocator.h"
#include "backends/tensorrt/run_layout.h"

namespace verdict::tensorrt {

/// Before TensorRT 9 each execution context needs an optimization profile of its own, where shapes
/// are dynamic. More copies of the profile in an engine take about as much memory as more copies of
/// the engine, weights and all, and each takes a build's time; so there a runner has an engine.
inline constexpr bool kContextsShareProfiles = kHeaderVersion >= 900;
/// Whether a graph's program has profiles to choose from: any extent of an input is open.
bool HasOpenShapes(const Graph& graph);

/// TensorRT's engine with its weights; several where runners cannot share one.
class Program final : public DeviceProgram, public std::enable_shared_from_this<Program> {
 public:
  /// Takes a plan whose header has been checked. refuse_memory: a drill. Errors: kDataLoss:
  /// TensorRT does not take it, or it is of another graph; kResourceExhausted.
  static Result<std::shared_ptr<Program>> Load(std::shared_ptr<DeviceCore> core,
                                               const PlanFile& file, const Graph& graph,
                                               std::span<const Profile> profiles,
                                               bool refuse_memory);

  Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) override;
  uint64_t device_bytes() const override;
  Result<std::string> LayerInformation() const override;

  DeviceCore& core() const { return *core_; }
  const std::vector<EngineTensor>& inputs() const { return inputs_; }
  const std::vector<EngineTensor>& outputs() const { return outputs_; }
  const std::vector<Profile>& profiles() const { return profiles_; }
  const std::vector<IndexRange>& index_ranges() const { return index_ranges_; }
  const GpuAllocator& allocator() const { return allocator_; }

  /// What a runner has of the program, until it gives it back.
  struct Seat {
    size_t number = 0;  // among the program's runners, from 0
    nvinfer1::ICudaEngine* engine = nullptr;
  };
  /// May load a copy of the engine. The caller holds core().measuring, as Load does, so that loads
  /// and copies take turns. Beside a build it is safe, as that has a builder of its own; waiting
  /// for core().turns would take as long as the build, which a worker's call may not. Errors: as
  /// Load.
  Result<Seat> TakeSeat();
  void ReturnSeat(size_t number);
  bool open_shapes() const { return open_shapes_; }
  /// A runner's memory: what the card's free memory fell by, and what was asked for.
  void AddRunnerBytes(int64_t measured, int64_t asked);

 private:
  explicit Program(std::shared_ptr<DeviceCore> core);
  using Engine = TensorRtPointer<nvinfer1::ICudaEngine>;
  Status MakeRuntime();
  Result<Engine> Deserialize(std::span<const std::byte> plan);
  Status CheckTensors(const Graph& graph);
  Status CheckProfiles();

  std::shared_ptr<DeviceCore> core_;
  GpuAllocator allocator_;
  TensorRtPointer<nvinfer1::IRuntime> runtime_;
  Engine engine_;
  std::vector<EngineTensor> inputs_, outputs_;
  std::vector<Profile> profiles_;
  std::vector<IndexRange> index_ranges_;
  bool open_shapes_ = false;
  uint64_t plan_bytes_ = 0;
  std::atomic<int64_t> measured_bytes_ = 0, asked_bytes_ = 0;
  std::mutex mutex_;            // guards what follows
  std::vector<bool> taken_;     // by seat
  std::vector<Engine> copies_;  // by seat; null where engine_ serves
};

}  // namespace verdict::tensorrt
