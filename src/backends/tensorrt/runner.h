#pragma once

#include <memory>
#include <vector>

#include "backends/tensorrt/program.h"

namespace verdict::tensorrt {

/// A stream, an execution context per profile, and pinned memory for the largest inputs and
/// outputs. All inputs lie in one block, one after the other, so that one copy takes them there;
/// outputs likewise. A captured shape is one graph: copy, compute, copy.
class Runner final : public DeviceRunner {
 public:
  /// Errors: kResourceExhausted; kInvalidArgument: a captured shape outside the profiles;
  /// kUnavailable.
  static Result<std::unique_ptr<DeviceRunner>> Create(std::shared_ptr<Program> program,
                                                      const DeviceRunnerOptions& options);
  ~Runner() override;

  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) override;
  Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs) override;

 private:
  /// Where the tensors of one set of shapes lie within the two blocks.
  struct Layout {
    std::vector<Shape> inputs, outputs;
    std::vector<size_t> input_offsets, output_offsets;
    size_t input_bytes = 0, output_bytes = 0;  // all together
  };
  struct Captured {
    Layout layout;
    CUgraphExec graph = nullptr;
  };
  using Context = TensorRtPointer<nvinfer1::IExecutionContext>;

  Runner(std::shared_ptr<Program> program, const DeviceRunnerOptions& options);
  Status Prepare();
  Status MakeContexts();
  Status Allocate();
  Status Capture(std::vector<Shape> shapes);

  Status CheckInputs(std::span<const TensorView> inputs) const;
  const Captured* FindCaptured(std::span<const TensorView> inputs) const;
  /// Makes layout_ and its profile's context ready for the shapes; nothing to do where they are.
  Status SetShapes(std::span<const Shape> shapes);
  Status ReadOutputShapes(nvinfer1::IExecutionContext& context, Layout& layout) const;
  void PlaceTensors(Layout& layout) const;
  Status FillInputs(std::span<const TensorView> inputs, const Layout& layout);
  Status CheckIndices(size_t input, const TensorView& tensor) const;
  /// Zeros, or where they are no index its least one, from element `first` of an input on.
  void FillPadding(size_t input, const Layout& layout, int64_t first);
  /// Copy, compute, copy; into a graph while the stream captures.
  Status Enqueue();
  Status Wait();
  /// Without a graph; sets layout_.
  Status RunPlainly(std::span<const TensorView> inputs);
  std::span<const TensorView> Outputs(const Layout& layout, int64_t rows);
  Status EnqueueError(const char* what);

  std::shared_ptr<Program> program_;
  CudaContext& cuda_;
  const DeviceRunnerOptions options_;
  uint32_t profile_copy_ = 0;
  bool has_profile_copy_ = false;
  int64_t measured_bytes_ = 0, asked_bytes_ = 0;
  CUstream stream_ = nullptr;
  DeviceBuffer scratch_, device_inputs_, device_outputs_;
  PinnedBuffer host_inputs_, host_outputs_;
  PinnedBuffer done_;  // 32 bits: the number of the last run that has ended
  bool writes_done_ = false;
  uint32_t run_ = 0;
  std::vector<Context> contexts_;                // per profile
  std::vector<std::vector<int64_t>> converted_;  // per output that is converted
  std::vector<TensorView> views_;
  std::vector<Shape> shapes_;       // of the run at hand
  std::vector<Captured> captured_;  // ascending size
  Layout layout_;                   // of the last SetShapes
  nvinfer1::IExecutionContext* current_ = nullptr;
};

}  // namespace verdict::tensorrt
