#pragma once

#include <NvInfer.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/tensorrt/device_core.h"
#include "backends/tensorrt/engine_tensors.h"
#include "backends/tensorrt/gpu_allocator.h"
#include "backends/tensorrt/network_builder.h"

namespace verdict::tensorrt {

/// An input or output of a program.
struct EngineTensor {
  std::string name;
  DataType dtype = DataType::kUndefined;  // the graph's
  Conversion conversion = Conversion::kNone;
};

/// Before TensorRT 8.6 each execution context needs an optimization profile of its own, where
/// shapes are dynamic; so a program holds each profile a few times, and has as many runners.
inline constexpr uint32_t kProfileCopies = kHeaderVersion < 806 ? 4 : 1;
inline constexpr bool kProfilesAreShared = kHeaderVersion >= 806;
/// Whether a graph's program needs kProfileCopies: any extent of an input is open.
bool HasOpenShapes(const Graph& graph);

/// TensorRT's engine with its weights.
class Program final : public DeviceProgram, public std::enable_shared_from_this<Program> {
 public:
  /// Takes a plan whose header has been checked. refuse_memory: a drill. Errors: kDataLoss:
  /// TensorRT does not take it, or it is of another graph; kResourceExhausted.
  static Result<std::shared_ptr<Program>> Load(std::shared_ptr<DeviceCore> core,
                                               const PlanFile& file, const Graph& graph,
                                               std::span<const Profile> profiles,
                                               bool refuse_memory);
  ~Program() override;

  Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) override;
  uint64_t device_bytes() const override;
  Result<std::string> LayerInformation() const override;

  DeviceCore& core() const { return *core_; }
  nvinfer1::ICudaEngine& engine() const { return *engine_; }
  const std::vector<EngineTensor>& inputs() const { return inputs_; }
  const std::vector<EngineTensor>& outputs() const { return outputs_; }
  const std::vector<Profile>& profiles() const { return profiles_; }
  const std::vector<IndexRange>& index_ranges() const { return index_ranges_; }
  const GpuAllocator& allocator() const { return allocator_; }

  /// Which copy of the profiles a runner may use. Errors: kResourceExhausted: all are in use.
  Result<uint32_t> TakeProfileCopy();
  void ReturnProfileCopy(uint32_t copy);
  /// TensorRT's index of one of profiles().
  int32_t ProfileIndex(uint32_t copy, size_t profile) const {
    return open_shapes_ ? static_cast<int32_t>(copy * profiles_.size() + profile) : 0;
  }
  bool open_shapes() const { return open_shapes_; }
  /// A runner's memory: what the card's free memory fell by, and what was asked for.
  void AddRunnerBytes(int64_t measured, int64_t asked);

 private:
  explicit Program(std::shared_ptr<DeviceCore> core);
  Status Deserialize(const PlanFile& file);
  Status CheckTensors(const Graph& graph);
  Status CheckProfiles(const PlanHeader& header);

  std::shared_ptr<DeviceCore> core_;
  GpuAllocator allocator_;
  TensorRtPointer<nvinfer1::IRuntime> runtime_;
  TensorRtPointer<nvinfer1::ICudaEngine> engine_;
  std::vector<EngineTensor> inputs_, outputs_;
  std::vector<Profile> profiles_;
  std::vector<IndexRange> index_ranges_;
  bool open_shapes_ = false;
  uint64_t plan_bytes_ = 0;
  std::atomic<int64_t> measured_bytes_ = 0, asked_bytes_ = 0;
  std::mutex mutex_;  // guards copies_in_use_
  std::vector<bool> copies_in_use_;
};

}  // namespace verdict::tensorrt
