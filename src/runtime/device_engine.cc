#include "runtime/device_engine.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

#include "engine/device_parts.h"
#include "ops/infer.h"
#include "plan/lower.h"
#include "plan/profile.h"
#include "runtime/captured_shapes.h"
#include "runtime/golden_check.h"
#include "runtime/lane_pool.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNever = Clock::time_point::max();

/// A part of the plan, ready to run; a program or an engine.
struct LoadedPart {
  std::vector<ValueId> inputs, outputs;  // in the whole graph
  std::shared_ptr<DeviceProgram> program;
  DeviceRunnerOptions runner_options;
  std::shared_ptr<const Engine> host;
};

Status CheckTarget(const DevicePlan& plan, const DeviceInfo& device) {
  if (plan.backend == device.backend && plan.fingerprint == device.fingerprint) return OkStatus();
  return FailedPrecondition("the engine's device plan is for '" + plan.fingerprint + "' (" +
                            plan.backend + "), this device is '" + device.fingerprint + "' (" +
                            device.backend + "): build it again here");
}

/// An engine of a part that stays on the CPU, planned for this machine.
Result<std::shared_ptr<const Engine>> HostEngine(Graph graph, std::vector<Profile> profiles) {
  EngineContents contents;
  VERDICT_ASSIGN_OR_RETURN(contents.lowered, Lower(graph));
  contents.graph = std::move(graph);
  contents.profiles = std::move(profiles);
  return Engine::FromContents(std::move(contents));  // without a plan: it makes one
}

/// Per shapes of the whole graph's inputs, the shapes of every value; those that the graph refuses
/// are left out.
std::vector<std::vector<TensorView>> ResolveAll(const Graph& graph,
                                                const std::vector<std::vector<Shape>>& inputs) {
  std::vector<std::vector<TensorView>> resolved;
  for (const std::vector<Shape>& shapes : inputs) {
    auto views = ResolveShapes(graph, shapes);
    if (views.ok()) resolved.push_back(*std::move(views));
  }
  return resolved;
}

std::vector<std::vector<Shape>> ShapesOf(std::span<const ValueId> ids,
                                         const std::vector<std::vector<TensorView>>& resolved) {
  std::vector<std::vector<Shape>> all;
  for (const std::vector<TensorView>& views : resolved) {
    std::vector<Shape> shapes;
    for (const ValueId id : ids) shapes.push_back(views[static_cast<size_t>(id)].shape);
    if (std::ranges::find(all, shapes) == all.end()) all.push_back(std::move(shapes));
  }
  return all;
}

/// True if extent 0 of all these values is the batch, that of the graph's first input: only then
/// may a part run more rows than it was given and leave the rest.
bool LeadWithBatch(const Graph& graph, std::span<const ValueId> ids,
                   const std::vector<std::vector<TensorView>>& resolved) {
  return std::ranges::all_of(resolved, [&](const std::vector<TensorView>& views) {
    const Shape& first = views[static_cast<size_t>(graph.inputs[0])].shape;
    return first.rank() > 0 && std::ranges::all_of(ids, [&](ValueId id) {
             const Shape& shape = views[static_cast<size_t>(id)].shape;
             return shape.rank() > 0 && shape[0] == first[0];
           });
  });
}

/// Per graph output, the most bytes within the profiles.
Result<std::vector<size_t>> OutputBytes(const Graph& graph, std::span<const Profile> profiles) {
  std::vector<size_t> most(graph.outputs.size(), 0);
  for (const Profile& profile : profiles) {
    for (const auto& views : ResolveAll(graph, MeasuredShapes(graph, profile))) {
      for (size_t i = 0; i < most.size(); ++i) {
        const TensorView& view = views[static_cast<size_t>(graph.outputs[i])];
        VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(view.dtype, view.shape));
        most[i] = std::max(most[i], bytes);
      }
    }
  }
  return most;
}

}  // namespace

/// What one run needs for itself.
struct DeviceEngine::Lane {
  struct PartRun {
    std::unique_ptr<DeviceRunner> runner;  // of a device part
    std::unique_ptr<Session> session;      // of a host part, with an arena of its own
  };
  std::vector<PartRun> parts;
  std::vector<TensorView> values;       // per value of the whole graph
  std::vector<TensorView> part_inputs;  // room for those of the widest part
  std::span<const TensorView> outputs;  // of the part that ran last
};

struct DeviceEngine::Core {
  explicit Core(size_t lane_count) : pool(lane_count) {}

  std::shared_ptr<Device> device;
  std::string backend;
  double tolerance = 0;  // of the plan
  std::vector<ValueId> graph_inputs, graph_outputs;
  std::vector<size_t> output_bytes;
  /// One part, with the graph's inputs and outputs in their order: nothing to gather or scatter.
  bool is_whole_graph = false;
  LanePool pool;
  std::vector<Lane> lanes;
  std::atomic<Clock::rep> last_used{Clock::now().time_since_epoch().count()};

  mutable std::mutex mutex;  // guards the programs in `parts` against Close; lanes have the pool
  std::vector<LoadedPart> parts;

  Result<bool> RunPart(Lane& lane, size_t index, std::span<const TensorView> inputs, bool* started,
                       Clock::time_point until);
  Result<bool> RunParts(Lane& lane, std::span<const TensorView> inputs, Place* place,
                        Clock::time_point until);
  Status RunParts(Lane& lane, std::span<const TensorView> inputs) {
    Place place;
    return RunParts(lane, inputs, &place, kNever).status();
  }
  void MoveViews(Lane& lane, std::span<const TensorView> inputs);
  std::span<const TensorView> InputsOf(Lane& lane, const LoadedPart& part,
                                       std::span<const TensorView> inputs);
  void End(Place* place);
  Status CopyOut(Lane& lane, std::span<TensorView> outputs, std::span<const size_t> capacities);
  Status CopyOut(size_t output, const TensorView& from, TensorView& to, size_t capacity);
  Result<Lane> MakeLane(const Graph& graph) const;
};

DeviceEngine::DeviceEngine() = default;
DeviceEngine::~DeviceEngine() {
  if (core_ != nullptr) Close();
}

Result<DeviceEngine::Lane> DeviceEngine::Core::MakeLane(const Graph& graph) const {
  Lane lane;
  size_t widest = 0;
  for (const LoadedPart& part : parts) {
    Lane::PartRun& run = lane.parts.emplace_back();
    if (part.program != nullptr) {
      VERDICT_ASSIGN_OR_RETURN(run.runner, part.program->NewRunner(part.runner_options));
    } else {
      VERDICT_ASSIGN_OR_RETURN(run.session, Session::Create(part.host));
    }
    widest = std::max(widest, part.inputs.size());
  }
  lane.part_inputs.resize(widest);
  lane.values.resize(static_cast<size_t>(graph.num_values()));
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    if (const Constant* constant = graph.constant(id)) {
      lane.values[static_cast<size_t>(id)] = constant->view();
    }
  }
  return lane;
}

Result<std::shared_ptr<DeviceEngine>> DeviceEngine::Load(std::shared_ptr<Device> device,
                                                         const Engine& engine,
                                                         const DevicePlan& plan,
                                                         const DeviceEngineOptions& options) {
  VERDICT_RETURN_IF_ERROR(CheckTarget(plan, device->info()));
  if (options.streams < 1) return InvalidArgument("a device engine needs at least one stream");
  const Graph& graph = engine.contents().graph;
  const auto profiles = engine.profiles();
  VERDICT_ASSIGN_OR_RETURN(std::vector<PlanPart> sources, ExtractPlan(graph, profiles, plan));
  const auto resolved = ResolveAll(graph, ShapesToCapture(graph, profiles));

  const auto streams = static_cast<size_t>(options.streams);
  std::shared_ptr<DeviceEngine> loaded(new DeviceEngine());
  loaded->core_ = std::make_unique<Core>(streams);
  Core& core = *loaded->core_;
  core.device = std::move(device);
  core.backend = plan.backend;
  core.tolerance = plan.tolerance;
  core.graph_inputs = graph.inputs;
  core.graph_outputs = graph.outputs;
  VERDICT_ASSIGN_OR_RETURN(core.output_bytes, OutputBytes(graph, profiles));
  for (size_t i = 0; i < sources.size(); ++i) {
    PlanPart& source = sources[i];
    LoadedPart part;
    part.inputs = source.part.inputs;
    part.outputs = source.part.outputs;
    const std::string place = "part " + std::to_string(i);
    if (plan.parts[i].part.on_device) {
      if (const Status status = CheckProgram(plan.parts[i], source); !status.ok()) {
        return status.WithContext(place);
      }
      part.runner_options.captured_shapes = ShapesOf(part.inputs, resolved);
      part.runner_options.rows_independent = plan.rows_independent &&
                                             LeadWithBatch(graph, part.inputs, resolved) &&
                                             LeadWithBatch(graph, part.outputs, resolved);
      part.runner_options.graphs = options.graphs;
      auto program = core.device->Load(plan.parts[i].program, source.part.graph, source.profiles);
      if (!program.ok()) return program.status().WithContext(place);
      part.program = *std::move(program);
    } else {
      auto host = HostEngine(std::move(source.part.graph), std::move(source.profiles));
      if (!host.ok()) return host.status().WithContext(place);
      part.host = *std::move(host);
    }
    core.parts.push_back(std::move(part));
  }
  core.is_whole_graph = core.parts.size() == 1 && core.parts[0].inputs == graph.inputs &&
                        core.parts[0].outputs == graph.outputs;
  for (size_t i = 0; i < streams; ++i) {
    VERDICT_ASSIGN_OR_RETURN(Lane lane, core.MakeLane(graph));
    core.lanes.push_back(std::move(lane));
  }
  return loaded;
}

/// Sets lane.outputs. Returns: false if it has not ended by then.
Result<bool> DeviceEngine::Core::RunPart(Lane& lane, size_t index,
                                         std::span<const TensorView> inputs, bool* started,
                                         Clock::time_point until) {
  Lane::PartRun& run = lane.parts[index];
  if (run.runner == nullptr) {
    const auto outputs = run.session->Run(inputs);
    // Whatever a host part refuses is no fault of the device: the CPU plan will say it again, or
    // not.
    if (!outputs.ok()) return InvalidArgument(outputs.status().message());
    lane.outputs = *outputs;
    return true;
  }
  if (!*started) VERDICT_RETURN_IF_ERROR(run.runner->Start(inputs));
  *started = true;
  if (until != kNever && !run.runner->Wait(until)) return false;
  *started = false;
  VERDICT_ASSIGN_OR_RETURN(lane.outputs, run.runner->Finish());
  return true;
}

std::span<const TensorView> DeviceEngine::Core::InputsOf(Lane& lane, const LoadedPart& part,
                                                         std::span<const TensorView> inputs) {
  if (is_whole_graph) return inputs;
  for (size_t i = 0; i < part.inputs.size(); ++i) {
    lane.part_inputs[i] = lane.values[static_cast<size_t>(part.inputs[i])];
  }
  return {lane.part_inputs.data(), part.inputs.size()};
}

/// A run is gone on with from other memory with the same inputs: what parts on the host have made
/// may be views of the former one.
void DeviceEngine::Core::MoveViews(Lane& lane, std::span<const TensorView> inputs) {
  for (size_t v = 0; v < lane.values.size(); ++v) {
    if (std::ranges::find(graph_inputs, static_cast<ValueId>(v)) != graph_inputs.end()) continue;
    TensorView& value = lane.values[v];
    const auto* const data = static_cast<const std::byte*>(value.data);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorView& former = lane.values[static_cast<size_t>(graph_inputs[i])];
      const auto* const begin = static_cast<const std::byte*>(former.data);
      const auto bytes = ByteSize(former.dtype, former.shape);
      if (!bytes.ok() || std::less<>()(data, begin) || !std::less<>()(data, begin + *bytes)) {
        continue;
      }
      value.data = static_cast<std::byte*>(inputs[i].data) + (data - begin);
      break;
    }
  }
}

Result<bool> DeviceEngine::Core::RunParts(Lane& lane, std::span<const TensorView> inputs,
                                          Place* place, Clock::time_point until) {
  if (is_whole_graph) return RunPart(lane, 0, inputs, &place->started, until);
  if (place->part > 0 || place->started) MoveViews(lane, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    lane.values[static_cast<size_t>(graph_inputs[i])] = inputs[i];
  }
  for (; place->part < parts.size(); ++place->part) {
    const LoadedPart& part = parts[place->part];
    VERDICT_ASSIGN_OR_RETURN(
        const bool ended,
        RunPart(lane, place->part, InputsOf(lane, part, inputs), &place->started, until));
    if (!ended) return false;
    for (size_t i = 0; i < lane.outputs.size(); ++i) {
      lane.values[static_cast<size_t>(part.outputs[i])] = lane.outputs[i];
    }
  }
  return true;
}

Status DeviceEngine::Core::CopyOut(size_t output, const TensorView& from, TensorView& to,
                                   size_t capacity) {
  VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(from.dtype, from.shape));
  if (bytes > capacity) {
    return InvalidArgument("output " + std::to_string(output) + " of shape " +
                           ToString(from.shape) + " is larger than the profiles allow");
  }
  to.dtype = from.dtype;
  to.shape = from.shape;
  if (bytes > 0) std::memcpy(to.data, from.data, bytes);
  return OkStatus();
}

Status DeviceEngine::Core::CopyOut(Lane& lane, std::span<TensorView> outputs,
                                   std::span<const size_t> capacities) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorView& from =
        is_whole_graph ? lane.outputs[i] : lane.values[static_cast<size_t>(graph_outputs[i])];
    VERDICT_RETURN_IF_ERROR(CopyOut(i, from, outputs[i], capacities[i]));
  }
  return OkStatus();
}

Status DeviceEngine::Run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
                         std::span<const size_t> capacities) {
  Place place;
  return RunUntil(kNever, &place, inputs, outputs, capacities).status();
}

Result<bool> DeviceEngine::RunUntil(Clock::time_point until, Place* place,
                                    std::span<const TensorView> inputs,
                                    std::span<TensorView> outputs,
                                    std::span<const size_t> capacities) {
  VERDICT_CHECK(inputs.size() == core_->graph_inputs.size() &&
                outputs.size() == core_->graph_outputs.size() &&
                capacities.size() == outputs.size());
  if (!place->lane.has_value()) {
    const size_t lane = core_->pool.Borrow(until);
    if (lane == LanePool::kClosed) return Cancelled("the engine has been taken off the device");
    if (lane == LanePool::kNone) return Cancelled("no stream was free in time");
    place->lane = lane;
  }
  Lane& lane = core_->lanes[*place->lane];
  try {
    const Result<bool> ended = core_->RunParts(lane, inputs, place, until);
    if (ended.ok() && !*ended) {
      if (!std::exchange(place->late, true)) core_->pool.SetLate();
      return false;
    }
    const Status status = ended.ok() ? core_->CopyOut(lane, outputs, capacities) : ended.status();
    core_->End(place);
    if (!status.ok()) return status;
    return true;
  } catch (...) {  // no memory
    Abandon(place);
    throw;
  }
}

void DeviceEngine::Core::End(Place* place) {
  last_used.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  pool.Return(*place->lane, place->late);
  *place = {};
}

bool DeviceEngine::CanGoOn(const Place& place) const {
  DeviceRunner* const runner = core_->lanes[*place.lane].parts[place.part].runner.get();
  return runner->Wait(Clock::time_point());
}

void DeviceEngine::Abandon(Place* place) {
  if (place->started) {
    static_cast<void>(core_->lanes[*place->lane].parts[place->part].runner->Finish());
  }
  core_->End(place);
}

Status DeviceEngine::CheckGolden(const Engine& engine) {
  std::vector<TensorView> outputs(core_->output_bytes.size());
  std::vector<std::vector<std::byte>> memory;
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].data = memory.emplace_back(core_->output_bytes[i]).data();
  }
  for (const GoldenVector& golden : engine.contents().golden) {
    std::vector<TensorView> inputs;
    for (const Constant& input : golden.inputs) inputs.push_back(input.view());
    VERDICT_RETURN_IF_ERROR(Run(inputs, outputs, core_->output_bytes));
    const double tolerance = std::max<double>(golden.tolerance, core_->tolerance);
    for (size_t i = 0; i < outputs.size(); ++i) {
      VERDICT_RETURN_IF_ERROR(
          CompareGolden(golden.outputs[i].view(), outputs[i], tolerance, engine.outputs()[i].name));
    }
  }
  return OkStatus();
}

Result<std::vector<LayerTime>> DeviceEngine::ProfileLayers(std::span<const TensorView> inputs) {
  const size_t index = core_->pool.Borrow();
  if (index == LanePool::kClosed) return Cancelled("the engine has been taken off the device");
  if (index == LanePool::kNone) return Unavailable("every stream has a run that does not end");
  Lane& lane = core_->lanes[index];
  const auto profile = [&]() -> Result<std::vector<LayerTime>> {
    // First for the values between the parts; each part is then profiled with what it read.
    VERDICT_RETURN_IF_ERROR(core_->RunParts(lane, inputs));
    std::vector<LayerTime> times;
    for (size_t i = 0; i < core_->parts.size(); ++i) {
      const auto part_inputs = core_->InputsOf(lane, core_->parts[i], inputs);
      if (DeviceRunner* runner = lane.parts[i].runner.get()) {
        VERDICT_ASSIGN_OR_RETURN(std::vector<LayerTime> part, runner->ProfileLayers(part_inputs));
        std::ranges::move(part, std::back_inserter(times));
        // That run has put its outputs where it likes: the next parts read those.
        VERDICT_RETURN_IF_ERROR(core_->RunParts(lane, inputs));
        continue;
      }
      const auto begin = Clock::now();
      bool started = false;
      VERDICT_RETURN_IF_ERROR(core_->RunPart(lane, i, part_inputs, &started, kNever).status());
      const std::chrono::duration<double, std::milli> elapsed = Clock::now() - begin;
      times.push_back({"part " + std::to_string(i) + " (host)", elapsed.count()});
    }
    return times;
  };
  auto times = profile();
  core_->pool.Return(index);
  return times;
}

Result<std::string> DeviceEngine::LayerInformation() const {
  std::lock_guard lock(core_->mutex);
  std::vector<std::string> texts;
  for (const LoadedPart& part : core_->parts) {
    if (part.program == nullptr) continue;
    VERDICT_ASSIGN_OR_RETURN(texts.emplace_back(), part.program->LayerInformation());
  }
  if (texts.empty()) return Cancelled("the engine has been taken off the device");
  if (texts.size() == 1) return texts[0];
  std::string all = "[";
  for (const std::string& text : texts) all += (all.size() > 1 ? "," : "") + text;
  return all + "]";
}

void DeviceEngine::Close() {
  core_->pool.Close();
  std::lock_guard lock(core_->mutex);
  core_->lanes.clear();
  core_->parts.clear();
  core_->device.reset();
}

std::span<const size_t> DeviceEngine::output_bytes() const { return core_->output_bytes; }

std::chrono::steady_clock::time_point DeviceEngine::last_used() const {
  return Clock::time_point(Clock::duration(core_->last_used.load(std::memory_order_relaxed)));
}

uint64_t DeviceEngine::device_bytes() const {
  std::lock_guard lock(core_->mutex);
  uint64_t bytes = 0;
  for (const LoadedPart& part : core_->parts) {
    if (part.program != nullptr) bytes += part.program->device_bytes();
  }
  return bytes;
}

const std::string& DeviceEngine::backend() const { return core_->backend; }

}  // namespace verdict
