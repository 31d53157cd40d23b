#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "backends/tensorrt/program.h"

namespace verdict::tensorrt {

/// A stream, an execution context per profile, and pinned memory for the largest inputs and
/// outputs. All inputs lie in one block, one after the other, so that one copy takes them there;
/// outputs likewise. A captured shape is one graph: copy, compute, copy. Very small blocks are
/// not copied: the card reads and writes them in pinned memory. Large inputs have a copy each, from
/// where the caller always puts them, if that could be pinned.
class Runner final : public DeviceRunner {
 public:
  /// Errors: kResourceExhausted; kInvalidArgument: a captured shape outside the profiles;
  /// kUnavailable.
  static Result<std::unique_ptr<DeviceRunner>> Create(std::shared_ptr<Program> program,
                                                      const DeviceRunnerOptions& options);
  ~Runner() override;

  Status Start(std::span<const TensorView> inputs) override;
  bool Wait(std::chrono::steady_clock::time_point until) override;
  Result<std::span<const TensorView>> Finish() override;
  Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs) override;

 private:
  struct Captured {
    RunLayout layout;
    CUgraphExec graph = nullptr;
  };
  /// Collects what TensorRT reports while it runs with a clock around each layer.
  class LayerProfiler;
  using Context = TensorRtPointer<nvinfer1::IExecutionContext>;

  Runner(std::shared_ptr<Program> program, const DeviceRunnerOptions& options);
  Status Prepare();
  Status MakeContexts();
  Status Allocate();
  void Place(RunLayout& layout) const;
  Status Capture(std::vector<Shape> shapes);
  /// Starts it: WaitForEnd has to follow.
  Status Launch(const Captured& captured);

  Status CheckInputs(std::span<const TensorView> inputs) const;
  const Captured* FindCaptured(std::span<const TensorView> inputs) const;
  /// Makes layout_ and its profile's context ready for the shapes; nothing to do where they are.
  Status SetShapes(std::span<const Shape> shapes);
  Status ReadOutputShapes(nvinfer1::IExecutionContext& context, RunLayout& layout) const;
  Status SetAddresses(nvinfer1::IExecutionContext& context);
  /// The pinned memory from which an input goes to the card.
  std::byte* Source(const RunLayout& layout, size_t input) const;
  /// Puts them there.
  Status FillInputs(std::span<const TensorView> inputs, const RunLayout& layout);
  /// To this place of the block of inputs there.
  Status CopyToCard(const void* pinned, size_t offset, size_t bytes);
  /// What a captured shape is first run with: what padding holds.
  void FillWithPadding(const RunLayout& layout);
  /// Copy, compute, copy; into a graph while the stream captures.
  Status Enqueue();
  /// Behind what has been enqueued: the run's end is what comes next.
  Status MarkEnd();
  Status WaitForEnd();
  bool HasWrittenDone();
  /// What became of the run; nothing if it goes on `until` then.
  std::optional<Status> Look(std::chrono::steady_clock::time_point until);
  /// Without a graph; sets layout_.
  Status StartPlainly(std::span<const TensorView> inputs);
  std::span<const TensorView> Outputs(const RunLayout& layout, int64_t rows);
  Status EnqueueError(const char* what);

  std::shared_ptr<Program> program_;
  CudaContext& cuda_;
  const DeviceRunnerOptions options_;
  Program::Seat seat_;
  int64_t measured_bytes_ = 0, asked_bytes_ = 0;
  CUstream stream_ = nullptr;
  Scratch scratch_;
  DeviceBuffer device_inputs_, device_outputs_;
  PinnedBuffer host_inputs_, host_outputs_;
  PinnedRange caller_memory_;
  std::vector<std::byte*> caller_places_;  // in there; nullptr where an input is copied out of it
  PinnedBuffer done_;                      // 32 bits: the number of the last run that has ended
  bool writes_done_ = false;
  uint32_t run_ = 0;
  std::chrono::steady_clock::time_point started_;     // when the last run was enqueued
  std::chrono::steady_clock::time_point next_query_;  // of the driver, about it
  std::optional<Status> ended_;                       // what became of it
  const RunLayout* running_ = nullptr;                // its layout, and its rows where it is padded
  int64_t running_rows_ = -1;
  std::unique_ptr<LayerProfiler> profiler_;      // outlives the contexts that know it
  std::vector<Context> contexts_;                // per profile
  std::vector<std::vector<int64_t>> converted_;  // per output that is converted
  std::vector<TensorView> views_;
  std::vector<Shape> shapes_;       // of the run at hand
  std::vector<Captured> captured_;  // ascending size
  RunLayout layout_;                // of the last SetShapes
  nvinfer1::IExecutionContext* current_ = nullptr;
};

}  // namespace verdict::tensorrt
