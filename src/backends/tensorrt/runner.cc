#include "backends/tensorrt/runner.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <utility>

#include "plan/profile.h"

namespace verdict::tensorrt {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Between two questions to the driver whether the stream still works, which tell of errors.
constexpr auto kQueryInterval = std::chrono::microseconds(500);
constexpr int kLooksPerClock = 32;
constexpr long kSleepNanoseconds = 20'000;

void Relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

}  // namespace

class Runner::LayerProfiler final : public nvinfer1::IProfiler {
 public:
  void reportLayerTime(const char* layer, float milliseconds) noexcept override {
    try {
      layers.push_back({layer, milliseconds});
    } catch (...) {
      // Without memory the list ends here.
    }
  }
  std::vector<LayerTime> layers;
};

Runner::Runner(std::shared_ptr<Program> program, const DeviceRunnerOptions& options)
    : program_(std::move(program)), cuda_(*program_->core().context), options_(options) {}

Result<std::unique_ptr<DeviceRunner>> Runner::Create(std::shared_ptr<Program> program,
                                                     const DeviceRunnerOptions& options) {
  std::unique_ptr<Runner> runner(new Runner(std::move(program), options));
  DeviceCore& core = runner->program_->core();
  const std::lock_guard lock(core.measuring);
  // What is shared is not the runner's, whoever makes it grow.
  const auto taken = [&]() -> Result<int64_t> {
    VERDICT_ASSIGN_OR_RETURN(const DeviceMemory memory, runner->cuda_.Memory());
    return static_cast<int64_t>(memory.total_bytes - memory.free_bytes) -
           static_cast<int64_t>(core.lanes->bytes());
  };
  VERDICT_ASSIGN_OR_RETURN(const int64_t before, taken());
  VERDICT_RETURN_IF_ERROR(runner->Prepare());
  VERDICT_ASSIGN_OR_RETURN(const int64_t after, taken());
  runner->measured_bytes_ = std::max<int64_t>(0, after - before);
  runner->asked_bytes_ =
      static_cast<int64_t>(runner->scratch_.own_bytes() + runner->device_inputs_.bytes() +
                           runner->device_outputs_.bytes());
  runner->program_->AddRunnerBytes(runner->measured_bytes_, runner->asked_bytes_);
  return std::unique_ptr<DeviceRunner>(std::move(runner));
}

Runner::~Runner() {
  // What belongs to a lost context goes with it.
  if (cuda_.MakeCurrent().ok()) {
    const CudaDriver& driver = cuda_.driver();
    if (stream_ != nullptr) driver.cuStreamSynchronize(stream_);
    for (const Captured& captured : captured_) driver.cuGraphExecDestroy(captured.graph);
    contexts_.clear();
    if (stream_ != nullptr) driver.cuStreamDestroy_v2(stream_);
  }
  contexts_.clear();
  if (seat_.engine != nullptr) program_->ReturnSeat(seat_.number);
  program_->AddRunnerBytes(-measured_bytes_, -asked_bytes_);
}

Status Runner::Prepare() {
  VERDICT_RETURN_IF_ERROR(cuda_.MakeCurrent());
  program_->core().logger.TakeErrors();  // older ones
  VERDICT_ASSIGN_OR_RETURN(seat_, program_->TakeSeat());
  VERDICT_RETURN_IF_ERROR(cuda_.Check(
      cuda_.driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "making a stream"));
  VERDICT_RETURN_IF_ERROR(MakeContexts());
  VERDICT_RETURN_IF_ERROR(Allocate());
  if (!options_.graphs) return OkStatus();
  for (const std::vector<Shape>& shapes : options_.captured_shapes) {
    VERDICT_RETURN_IF_ERROR(Capture(shapes));
  }
  // The smallest that fits is then the first that fits.
  std::ranges::stable_sort(captured_, {}, [](const Captured& captured) {
    return captured.layout.input_bytes + captured.layout.output_bytes;
  });
  return OkStatus();
}

Status Runner::MakeContexts() {
  nvinfer1::ICudaEngine& engine = *seat_.engine;
#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 1001
  const auto scratch_bytes = static_cast<uint64_t>(engine.getDeviceMemorySizeV2());
#else
  const auto scratch_bytes = static_cast<uint64_t>(engine.getDeviceMemorySize());
#endif
  // One scratch for the contexts of all profiles: they run on one stream.
  DeviceCore& core = program_->core();
  VERDICT_ASSIGN_OR_RETURN(scratch_,
                           Scratch::Allocate(cuda_, *core.lanes, seat_.number, scratch_bytes,
                                             core.trials.shared_scratch_bytes));
  const size_t profiles = program_->profiles().size();
  for (size_t p = 0; p < profiles; ++p) {
#if NV_TENSORRT_MAJOR >= 10
    Context context = Own(
        engine.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED),
        cuda_);
#else
    Context context = Own(engine.createExecutionContextWithoutDeviceMemory(), cuda_);
#endif
    if (context == nullptr) return EnqueueError("making an execution context");
    void* scratch = reinterpret_cast<void*>(scratch_.address());
#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 1001
    context->setDeviceMemoryV2(scratch, static_cast<int64_t>(scratch_.bytes()));
#else
    context->setDeviceMemory(scratch);
#endif
    // Fixed shapes have no profile to choose: any number of contexts share the one there is.
    if (program_->open_shapes() &&
        !context->setOptimizationProfileAsync(static_cast<int32_t>(p), stream_)) {
      return EnqueueError("choosing an optimization profile");
    }
    VERDICT_RETURN_IF_ERROR(
        cuda_.Check(cuda_.driver().cuStreamSynchronize(stream_), "choosing a profile"));
    contexts_.push_back(std::move(context));
  }
  return OkStatus();
}

Status Runner::Allocate() {
  const size_t num_inputs = program_->inputs().size();
  const size_t num_outputs = program_->outputs().size();
  layout_ = MakeRunLayout(num_inputs, num_outputs);
  shapes_.resize(num_inputs);
  views_.resize(num_outputs);
  converted_.resize(num_outputs);
  size_t input_bytes = 0, output_bytes = 0;
  std::vector<size_t> largest(num_inputs);  // bytes, where it is large, of any profile
  for (size_t p = 0; p < contexts_.size(); ++p) {
    RunLayout layout = layout_;
    for (size_t i = 0; i < num_inputs; ++i) {
      layout.inputs[i] = program_->profiles()[p].inputs[i].max;
      if (!contexts_[p]->setInputShape(program_->inputs()[i].name.c_str(),
                                       ToDims(layout.inputs[i]))) {
        return EnqueueError("setting the profile's largest shapes");
      }
    }
    VERDICT_RETURN_IF_ERROR(ReadOutputShapes(*contexts_[p], layout));
    Place(layout);
    for (size_t i = 0; i < num_inputs; ++i) {
      if (!layout.is_large[i]) continue;
      largest[i] = std::max(largest[i], DeviceBytes(program_->inputs()[i], layout.inputs[i]));
    }
    input_bytes = std::max(input_bytes, layout.input_bytes);
    output_bytes = std::max(output_bytes, layout.output_bytes);
    for (size_t o = 0; o < num_outputs; ++o) {
      if (program_->outputs()[o].conversion == Conversion::kNone) continue;
      const auto elements = static_cast<size_t>(Elements(layout.outputs[o]));
      converted_[o].resize(std::max(converted_[o].size(), elements));
    }
  }
  VERDICT_ASSIGN_OR_RETURN(device_inputs_, DeviceBuffer::Allocate(cuda_, input_bytes));
  VERDICT_ASSIGN_OR_RETURN(device_outputs_, DeviceBuffer::Allocate(cuda_, output_bytes));
  VERDICT_ASSIGN_OR_RETURN(host_inputs_, PinnedBuffer::Allocate(cuda_, input_bytes));
  VERDICT_ASSIGN_OR_RETURN(host_outputs_, PinnedBuffer::Allocate(cuda_, output_bytes));
  VERDICT_ASSIGN_OR_RETURN(done_, PinnedBuffer::Allocate(cuda_, sizeof(uint32_t)));
  caller_places_.assign(num_inputs, nullptr);
  const bool has_large = std::ranges::any_of(largest, [](size_t bytes) { return bytes > 0; });
  if (has_large && options_.caller_places.size() == num_inputs) {
    auto pinned = PinnedRange::Pin(cuda_, options_.caller_memory);
    if (pinned.ok()) {
      caller_memory_ = *std::move(pinned);
      for (size_t i = 0; i < num_inputs; ++i) {
        const std::span<std::byte> place = options_.caller_places[i];
        const bool fits = largest[i] > 0 && place.size() >= largest[i];
        if (fits && caller_memory_.Holds(place.data(), largest[i])) {
          caller_places_[i] = place.data();
        }
      }
    } else if (cuda_.lost()) {
      return pinned.status();
    } else {
      program_->core().Log("inputs are copied once more: " + pinned.status().message());
    }
  }
  // Some drivers have the call and refuse it; then the stream is asked instead.
  const CudaDriver& driver = cuda_.driver();
  writes_done_ = driver.cuStreamWriteValue32_v2 != nullptr &&
                 driver.cuStreamWriteValue32_v2(stream_, done_.address(), 0, 0) == CUDA_SUCCESS;
  return cuda_.Check(driver.cuStreamSynchronize(stream_), "preparing a runner");
}

Status Runner::ReadOutputShapes(nvinfer1::IExecutionContext& context, RunLayout& layout) const {
  for (size_t o = 0; o < layout.outputs.size(); ++o) {
    const char* name = program_->outputs()[o].name.c_str();
    VERDICT_ASSIGN_OR_RETURN(layout.outputs[o], ToShape(context.getTensorShape(name)));
    if (!layout.outputs[o].IsStatic()) {
      return InvalidArgument("the shape of output '" + program_->outputs()[o].label +
                             "' depends on the inputs' contents; run it on the CPU");
    }
  }
  return OkStatus();
}

void Runner::Place(RunLayout& layout) const {
  PlaceTensors(program_->inputs(), program_->outputs(), program_->core().trials, layout);
}

Status Runner::SetShapes(std::span<const Shape> shapes) {
  if (current_ != nullptr && std::ranges::equal(shapes, layout_.inputs)) return OkStatus();
  current_ = nullptr;
  const std::vector<Profile>& profiles = program_->profiles();
  const auto profile = std::ranges::find_if(
      profiles, [&](const Profile& candidate) { return Covers(candidate, shapes); });
  if (profile == profiles.end()) {
    if (profiles.empty()) return InvalidArgument("the program has no optimization profile");
    return CheckShapes(profiles.back(), shapes)
        .WithContext("no optimization profile of the device program takes these shapes");
  }
  nvinfer1::IExecutionContext& context =
      *contexts_[static_cast<size_t>(profile - profiles.begin())];
  for (size_t i = 0; i < shapes.size(); ++i) {
    layout_.inputs[i] = shapes[i];
    if (!context.setInputShape(program_->inputs()[i].name.c_str(), ToDims(shapes[i]))) {
      return EnqueueError("setting shapes");
    }
  }
  VERDICT_RETURN_IF_ERROR(ReadOutputShapes(context, layout_));
  Place(layout_);
  bool fits =
      layout_.input_bytes <= host_inputs_.bytes() && layout_.output_bytes <= host_outputs_.bytes();
  for (size_t o = 0; o < converted_.size(); ++o) {
    fits = fits && (program_->outputs()[o].conversion == Conversion::kNone ||
                    static_cast<size_t>(Elements(layout_.outputs[o])) <= converted_[o].size());
  }
  if (!fits) {
    return InvalidArgument(
        "these shapes need more memory than the profile's largest ones; run them "
        "on the CPU");
  }
  VERDICT_RETURN_IF_ERROR(SetAddresses(context));
  current_ = &context;
  return OkStatus();
}

Status Runner::SetAddresses(nvinfer1::IExecutionContext& context) {
  const auto set = [&](const EngineTensor& tensor, CUdeviceptr block, size_t offset) -> Status {
    void* address = reinterpret_cast<void*>(block + offset);
    if (context.setTensorAddress(tensor.name.c_str(), address)) return OkStatus();
    return EnqueueError("setting addresses");
  };
  for (size_t i = 0; i < layout_.inputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(
        set(program_->inputs()[i],
            layout_.zero_copy ? host_inputs_.address() : device_inputs_.address(),
            layout_.input_offsets[i]));
  }
  const CUdeviceptr outputs =
      layout_.zero_copy ? host_outputs_.address() : device_outputs_.address();
  for (size_t o = 0; o < layout_.outputs.size(); ++o) {
    VERDICT_RETURN_IF_ERROR(set(program_->outputs()[o], outputs, layout_.output_offsets[o]));
  }
  return OkStatus();
}

Status Runner::Capture(std::vector<Shape> shapes) {
  if (shapes.size() != program_->inputs().size()) {
    return InvalidArgument("a captured shape has " + std::to_string(shapes.size()) +
                           " inputs, the program has " + std::to_string(program_->inputs().size()));
  }
  VERDICT_RETURN_IF_ERROR(SetShapes(shapes));
  FillWithPadding(layout_);
  // Once plainly: what is made on first use must not be made while capturing.
  VERDICT_RETURN_IF_ERROR(scratch_.InTurn(stream_, [&] { return Enqueue(); }));
  VERDICT_RETURN_IF_ERROR(MarkEnd());
  VERDICT_RETURN_IF_ERROR(WaitForEnd());
  const CudaDriver& driver = cuda_.driver();
  // Other threads may allocate meanwhile: only what this one does counts.
  VERDICT_RETURN_IF_ERROR(
      cuda_.Check(driver.cuStreamBeginCapture_v2(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                  "capturing a graph"));
  const Status enqueued = Enqueue();
  CUgraph graph = nullptr;
  CUresult result = driver.cuStreamEndCapture(stream_, &graph);
  Captured captured;
  if (enqueued.ok() && result == CUDA_SUCCESS && graph != nullptr) {
    result = driver.cuGraphInstantiateWithFlags(&captured.graph, graph, 0);
  }
  if (graph != nullptr) driver.cuGraphDestroy(graph);
  if (cuda_.lost()) return cuda_.LostStatus();
  if (captured.graph == nullptr) {
    // It runs all the same, by one call a layer.
    const Status why = enqueued.ok() ? cuda_.Check(result, "capturing a graph") : enqueued;
    program_->core().Log("no CUDA graph for the shapes of input 0 " + ToString(shapes.front()) +
                         ": " + why.message());
    return cuda_.lost() ? cuda_.LostStatus() : OkStatus();
  }
  captured.layout = layout_;
  captured_.push_back(std::move(captured));
  // The first launch uploads the graph, which no request is to wait for.
  VERDICT_RETURN_IF_ERROR(Launch(captured_.back()));
  return WaitForEnd();
}

Status Runner::Launch(const Captured& captured) {
  VERDICT_RETURN_IF_ERROR(scratch_.InTurn(stream_, [&] {
    return cuda_.Check(cuda_.driver().cuGraphLaunch(captured.graph, stream_), "launching a graph");
  }));
  return MarkEnd();
}

Status Runner::CheckInputs(std::span<const TensorView> inputs) const {
  if (inputs.size() != program_->inputs().size()) {
    return InvalidArgument("the program has " + std::to_string(program_->inputs().size()) +
                           " inputs, " + std::to_string(inputs.size()) + " were given");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const EngineTensor& tensor = program_->inputs()[i];
    if (inputs[i].dtype != tensor.dtype) {
      return InvalidArgument("input '" + tensor.label + "' is of type " +
                             std::string(DataTypeName(inputs[i].dtype)) + ", the program takes " +
                             std::string(DataTypeName(tensor.dtype)));
    }
    for (const Dim extent : inputs[i].shape.dims()) {
      if (extent <= 0) {
        return InvalidArgument("input '" + tensor.label + "' is empty; run it on the CPU");
      }
    }
  }
  return OkStatus();
}

const Runner::Captured* Runner::FindCaptured(std::span<const TensorView> inputs) const {
  const auto fits = [&](const Captured& captured) {
    bool equal = true, rows_fit = options_.rows_independent && !inputs.empty();
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Shape& ours = inputs[i].shape;
      const Shape& theirs = captured.layout.inputs[i];
      if (ours.rank() != theirs.rank()) return false;
      for (int axis = 0; axis < ours.rank(); ++axis) {
        if (ours[axis] == theirs[axis]) continue;
        equal = false;
        if (axis > 0 || ours[axis] > theirs[axis]) return false;
      }
      rows_fit = rows_fit && ours.rank() > 0 && ours[0] == inputs[0].shape[0] &&
                 theirs[0] == captured.layout.inputs[0][0];
    }
    for (const Shape& output : captured.layout.outputs) {
      rows_fit = rows_fit && output.rank() > 0 && output[0] == captured.layout.inputs[0][0];
    }
    return equal || rows_fit;
  };
  const auto found = std::ranges::find_if(captured_, fits);
  return found == captured_.end() ? nullptr : &*found;
}

std::byte* Runner::Source(const RunLayout& layout, size_t input) const {
  std::byte* const place = layout.is_large[input] ? caller_places_[input] : nullptr;
  return place != nullptr ? place : host_inputs_.data() + layout.input_offsets[input];
}

Status Runner::FillInputs(std::span<const TensorView> inputs, const RunLayout& layout) {
  for (const IndexRange& range : program_->index_ranges()) {
    VERDICT_RETURN_IF_ERROR(
        CheckIndices(range, program_->inputs()[range.input], inputs[range.input]));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const EngineTensor& tensor = program_->inputs()[i];
    std::byte* const to = Source(layout, i);
    const int64_t given = inputs[i].size();
    if (inputs[i].data != to) {
      VERDICT_RETURN_IF_ERROR(
          CopyToDeviceForm(inputs[i].data, tensor.dtype, tensor.conversion, given, to)
              .WithContext("input '" + tensor.label + "'"));
    }
    // In the caller's memory the other rows are of earlier runs, and do as well.
    if (Elements(layout.inputs[i]) == given || to == caller_places_[i]) continue;
    FillPadding(program_->index_ranges(), i, tensor, layout.inputs[i], given, to);
  }
  return OkStatus();
}

Status Runner::CopyToCard(const void* pinned, size_t offset, size_t bytes) {
  return cuda_.Check(cuda_.driver().cuMemcpyHtoDAsync_v2(device_inputs_.address() + offset, pinned,
                                                         bytes, stream_),
                     "copying inputs");
}

void Runner::FillWithPadding(const RunLayout& layout) {
  for (size_t i = 0; i < layout.inputs.size(); ++i) {
    FillPadding(program_->index_ranges(), i, program_->inputs()[i], layout.inputs[i], 0,
                Source(layout, i));
  }
}

Status Runner::Enqueue() {
  const CudaDriver& driver = cuda_.driver();
  if (layout_.small_bytes > 0 && !layout_.zero_copy) {
    VERDICT_RETURN_IF_ERROR(CopyToCard(host_inputs_.data(), 0, layout_.small_bytes));
  }
  for (size_t i = 0; i < layout_.inputs.size(); ++i) {
    if (!layout_.is_large[i]) continue;
    const size_t bytes = DeviceBytes(program_->inputs()[i], layout_.inputs[i]);
    VERDICT_RETURN_IF_ERROR(CopyToCard(Source(layout_, i), layout_.input_offsets[i], bytes));
  }
  if (!current_->enqueueV3(stream_)) return EnqueueError("running");
  if (layout_.output_bytes == 0 || layout_.zero_copy) return OkStatus();
  return cuda_.Check(driver.cuMemcpyDtoHAsync_v2(host_outputs_.data(), device_outputs_.address(),
                                                 layout_.output_bytes, stream_),
                     "copying outputs");
}

Status Runner::EnqueueError(const char* what) {
  Status status = TensorRtError(what, program_->core().logger);
  // A lost context fails every call, so that this tells it from a mistake.
  const CUresult result = cuda_.driver().cuStreamQuery(stream_);
  if (IsSticky(result)) return cuda_.Check(result, what).WithContext(status.message());
  if (cuda_.lost()) return cuda_.LostStatus();
  if (program_->allocator().failed() && status.code() == StatusCode::kInternal) {
    return ResourceExhausted(status.message() + ": the card has not enough free memory");
  }
  return status;
}

Status Runner::MarkEnd() {
  started_ = SteadyClock::now();
  next_query_ = writes_done_ ? started_ + kQueryInterval : started_;
  ended_.reset();
  if (!writes_done_) return OkStatus();
  ++run_;
  return cuda_.Check(cuda_.driver().cuStreamWriteValue32_v2(stream_, done_.address(), run_, 0),
                     "marking a run's end");
}

bool Runner::Wait(SteadyClock::time_point until) {
  if (!ended_.has_value()) ended_ = Look(until);
  return ended_.has_value();
}

Status Runner::WaitForEnd() {
  Wait(SteadyClock::time_point::max());
  return *ended_;
}

bool Runner::HasWrittenDone() {
  if (!writes_done_) return false;
  uint32_t* word = reinterpret_cast<uint32_t*>(done_.data());
  return std::atomic_ref(*word).load(std::memory_order_acquire) == run_;
}

std::optional<Status> Runner::Look(SteadyClock::time_point until) {
  if (cuda_.lost()) return cuda_.LostStatus();
  // A word that the card writes behind the outputs costs less to look at than a question to the
  // driver, which locks.
  if (HasWrittenDone()) return OkStatus();
  const CudaDriver& driver = cuda_.driver();
  const DeviceOptions& options = program_->core().options;
  const auto spin_until = started_ + std::chrono::microseconds(options.spin_us);
  const auto give_up = started_ + std::chrono::milliseconds(options.run_timeout_ms);
  while (true) {
    const auto now = SteadyClock::now();
    if (now >= next_query_) {
      VERDICT_RETURN_IF_ERROR(cuda_.MakeCurrent());  // to another thread, maybe
      const CUresult result = driver.cuStreamQuery(stream_);
      if (result == CUDA_SUCCESS) return OkStatus();
      if (result != CUDA_ERROR_NOT_READY) return cuda_.Check(result, "running");
      if (writes_done_) next_query_ = now + kQueryInterval;
    }
    if (now >= give_up) {
      Status status =
          DeadlineExceeded("the device has not ended a run within " +
                           std::to_string(options.run_timeout_ms) + " ms: it is taken for lost");
      cuda_.MarkLost(status);
      return status;
    }
    if (now >= until) return std::nullopt;
    if (now >= spin_until) {
      const timespec pause{0, kSleepNanoseconds};
      nanosleep(&pause, nullptr);
    }
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (HasWrittenDone()) return OkStatus();
      Relax();
    }
  }
}

std::span<const TensorView> Runner::Outputs(const RunLayout& layout, int64_t rows) {
  for (size_t o = 0; o < views_.size(); ++o) {
    const EngineTensor& tensor = program_->outputs()[o];
    Shape shape = layout.outputs[o];
    if (rows >= 0) shape[0] = rows;
    std::byte* data = host_outputs_.data() + layout.output_offsets[o];
    if (tensor.conversion == Conversion::kNone) {
      views_[o] = {tensor.dtype, shape, data};
    } else {
      CopyFromDeviceForm(data, tensor.dtype, tensor.conversion, Elements(shape),
                         converted_[o].data());
      views_[o] = {tensor.dtype, shape, converted_[o].data()};
    }
  }
  return views_;
}

Status Runner::Start(std::span<const TensorView> inputs) {
  VERDICT_RETURN_IF_ERROR(CheckInputs(inputs));
  VERDICT_RETURN_IF_ERROR(cuda_.MakeCurrent());
  const Captured* captured = FindCaptured(inputs);
  if (captured == nullptr) return StartPlainly(inputs);
  VERDICT_RETURN_IF_ERROR(FillInputs(inputs, captured->layout));
  VERDICT_RETURN_IF_ERROR(Launch(*captured));
  const bool padded = !inputs.empty() && inputs[0].shape != captured->layout.inputs[0];
  running_ = &captured->layout;
  running_rows_ = padded ? inputs[0].shape[0] : -1;
  return OkStatus();
}

Result<std::span<const TensorView>> Runner::Finish() {
  VERDICT_RETURN_IF_ERROR(WaitForEnd());
  return Outputs(*running_, running_rows_);
}

Status Runner::StartPlainly(std::span<const TensorView> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) shapes_[i] = inputs[i].shape;
  VERDICT_RETURN_IF_ERROR(SetShapes(shapes_));
  VERDICT_RETURN_IF_ERROR(FillInputs(inputs, layout_));
  VERDICT_RETURN_IF_ERROR(scratch_.InTurn(stream_, [&] { return Enqueue(); }));
  running_ = &layout_;
  running_rows_ = -1;
  return MarkEnd();
}

Result<std::vector<LayerTime>> Runner::ProfileLayers(std::span<const TensorView> inputs) {
  VERDICT_RETURN_IF_ERROR(CheckInputs(inputs));
  VERDICT_RETURN_IF_ERROR(cuda_.MakeCurrent());
  const auto run = [&]() -> Status {
    VERDICT_RETURN_IF_ERROR(StartPlainly(inputs));
    return WaitForEnd();
  };
  VERDICT_RETURN_IF_ERROR(run());  // warm, and its context is current_
  // 8.5 does not let go of a profiler: it stays, and is not asked again. What is run without a
  // graph is still timed by the card's events.
  if (profiler_ == nullptr) profiler_ = std::make_unique<LayerProfiler>();
  profiler_->layers.clear();
  current_->setProfiler(profiler_.get());
  current_->setEnqueueEmitsProfile(true);
  const Status status = run();
  current_->setEnqueueEmitsProfile(false);
  VERDICT_RETURN_IF_ERROR(status);
  return std::move(profiler_->layers);
}

}  // namespace verdict::tensorrt
