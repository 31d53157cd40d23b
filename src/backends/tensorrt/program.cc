#include "backends/tensorrt/program.h"

#include <algorithm>
#include <utility>

#include "backends/tensorrt/runner.h"

namespace verdict::tensorrt {
namespace {

Status Foreign(const std::string& what) {
  return DataLoss("device program: " + what + "; build the engine's device plan again");
}

/// Extents that are known on both sides must be equal.
bool Fits(const Shape& ours, const Shape& theirs) {
  if (ours.rank() != theirs.rank()) return false;
  for (int axis = 0; axis < ours.rank(); ++axis) {
    if (!IsSymbol(ours[axis]) && !IsSymbol(theirs[axis]) && ours[axis] != theirs[axis])
      return false;
  }
  return true;
}

}  // namespace

bool HasOpenShapes(const Graph& graph) {
  return std::ranges::any_of(graph.inputs,
                             [&](ValueId id) { return !graph.value(id).shape.IsStatic(); });
}

Program::Program(std::shared_ptr<DeviceCore> core)
    : core_(std::move(core)), allocator_(*core_->context) {}

Result<std::shared_ptr<Program>> Program::Load(std::shared_ptr<DeviceCore> core,
                                               const PlanFile& file, const Graph& graph,
                                               std::span<const Profile> profiles,
                                               bool refuse_memory) {
  std::shared_ptr<Program> program(new Program(std::move(core)));
  if (refuse_memory) program->allocator_.RefuseAll();
  program->profiles_.assign(profiles.begin(), profiles.end());
  program->open_shapes_ = HasOpenShapes(graph);
  program->index_ranges_ = IndexRanges(graph);
  program->plan_bytes_ = file.plan.size();
  CudaContext& context = *program->core_->context;
  const std::lock_guard lock(program->core_->measuring);
  VERDICT_ASSIGN_OR_RETURN(const DeviceMemory before, context.Memory());
  VERDICT_RETURN_IF_ERROR(program->MakeRuntime());
  VERDICT_ASSIGN_OR_RETURN(program->engine_, program->Deserialize(file.plan));
  VERDICT_RETURN_IF_ERROR(program->CheckTensors(graph));
  VERDICT_RETURN_IF_ERROR(program->CheckProfiles());
  VERDICT_ASSIGN_OR_RETURN(const DeviceMemory after, context.Memory());
  program->measured_bytes_ = std::max<int64_t>(
      0, static_cast<int64_t>(before.free_bytes) - static_cast<int64_t>(after.free_bytes));
  return program;
}

Status Program::MakeRuntime() {
  VERDICT_RETURN_IF_ERROR(core_->context->MakeCurrent());
  core_->logger.TakeErrors();  // older ones
  runtime_ = Own(core_->library.NewRuntime(core_->logger), *core_->context);
  if (runtime_ == nullptr) return TensorRtError("making a runtime", core_->logger);
  runtime_->setGpuAllocator(&allocator_);
  return OkStatus();
}

Result<Program::Engine> Program::Deserialize(std::span<const std::byte> plan) {
  CudaContext& context = *core_->context;
  Engine engine = Own(runtime_->deserializeCudaEngine(plan.data(), plan.size()), context);
  if (engine != nullptr) return engine;
  Status status = TensorRtError("loading a device program", core_->logger);
  if (context.lost()) return context.LostStatus();
  if (allocator_.failed() && status.code() != StatusCode::kResourceExhausted) {
    return ResourceExhausted(status.message() + ": the card has not enough free memory");
  }
  // Its checksum was right: so it is one that another TensorRT has made.
  return status.code() == StatusCode::kInternal ? FailedPrecondition(status.message()) : status;
}

Status Program::CheckTensors(const Graph& graph) {
  const auto total = static_cast<size_t>(std::max(0, engine_->getNbIOTensors()));
  if (total != graph.inputs.size() + graph.outputs.size()) {
    return Foreign("it has " + std::to_string(total) + " inputs and outputs, the graph has " +
                   std::to_string(graph.inputs.size() + graph.outputs.size()));
  }
  const auto check = [&](ValueId id, std::string name, nvinfer1::TensorIOMode mode,
                         std::vector<EngineTensor>& tensors) -> Status {
    const Value& value = graph.value(id);
    if (engine_->getTensorIOMode(name.c_str()) != mode) return Foreign("it has no " + name);
    if (engine_->isShapeInferenceIO(name.c_str())) {
      return Foreign(name + " is needed on the host to tell shapes");
    }
    VERDICT_ASSIGN_OR_RETURN(const Shape shape, ToShape(engine_->getTensorShape(name.c_str())));
    if (!Fits(value.shape, shape)) {
      return Foreign(name + " has the shape " + ToString(shape) + ", value '" + value.name +
                     "' has " + ToString(value.shape));
    }
    const auto conversion = ConversionOf(value.dtype, engine_->getTensorDataType(name.c_str()));
    if (!conversion.ok()) return Foreign(conversion.status().message());
    tensors.push_back({std::move(name), value.name, value.dtype, *conversion});
    return OkStatus();
  };
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(
        check(graph.inputs[i], InputName(i), nvinfer1::TensorIOMode::kINPUT, inputs_));
  }
  for (const IndexRange& range : index_ranges_) inputs_[range.input].indexes = true;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(
        check(graph.outputs[i], OutputName(i), nvinfer1::TensorIOMode::kOUTPUT, outputs_));
  }
  return OkStatus();
}

Status Program::CheckProfiles() {
  if (!open_shapes_) return OkStatus();
  const auto count = static_cast<size_t>(std::max(0, engine_->getNbOptimizationProfiles()));
  if (count != profiles_.size()) {
    return Foreign("it has " + std::to_string(count) + " optimization profiles");
  }
  for (size_t p = 0; p < profiles_.size(); ++p) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto shape = [&](nvinfer1::OptProfileSelector corner) {
        return ToShape(
            engine_->getProfileShape(inputs_[i].name.c_str(), static_cast<int32_t>(p), corner));
      };
      const auto min = shape(nvinfer1::OptProfileSelector::kMIN);
      const auto max = shape(nvinfer1::OptProfileSelector::kMAX);
      const InputRange& range = profiles_[p].inputs[i];
      if (!min.ok() || !max.ok() || *min != range.min || *max != range.max) {
        return Foreign("an optimization profile has other shapes");
      }
    }
  }
  return OkStatus();
}

Result<Program::Seat> Program::TakeSeat() {
  const std::lock_guard lock(mutex_);
  const auto number = static_cast<size_t>(std::ranges::find(taken_, false) - taken_.begin());
  Engine copy;
  if (number > 0 && open_shapes_ && !kContextsShareProfiles) {
    const auto plan = Own(engine_->serialize(), *core_->context);
    if (plan == nullptr) return TensorRtError("copying a device program", core_->logger);
    VERDICT_ASSIGN_OR_RETURN(
        copy, Deserialize({static_cast<const std::byte*>(plan->data()), plan->size()}));
  }
  if (number == taken_.size()) {
    taken_.push_back(true);
    copies_.emplace_back();
  }
  taken_[number] = true;
  copies_[number] = std::move(copy);
  return Seat{number, copies_[number] == nullptr ? engine_.get() : copies_[number].get()};
}

void Program::ReturnSeat(size_t number) {
  const std::lock_guard lock(mutex_);
  taken_[number] = false;
  copies_[number].reset();
}

void Program::AddRunnerBytes(int64_t measured, int64_t asked) {
  measured_bytes_ += measured;
  asked_bytes_ += asked;
}

Result<std::unique_ptr<DeviceRunner>> Program::NewRunner(const DeviceRunnerOptions& options) {
  return Runner::Create(shared_from_this(), options);
}

uint64_t Program::device_bytes() const {
  // The card gives memory out in blocks, so that a small program may not be seen in what is free.
  const int64_t asked = asked_bytes_ + static_cast<int64_t>(allocator_.bytes());
  return static_cast<uint64_t>(
      std::max({measured_bytes_.load(), asked, static_cast<int64_t>(plan_bytes_)}));
}

Result<std::string> Program::LayerInformation() const {
  VERDICT_RETURN_IF_ERROR(core_->context->MakeCurrent());
  const auto inspector = Own(engine_->createEngineInspector(), *core_->context);
  if (inspector == nullptr) return TensorRtError("making an inspector", core_->logger);
  const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
  if (text == nullptr) return TensorRtError("listing layers", core_->logger);
  return std::string(text);
}

}  // namespace verdict::tensorrt
