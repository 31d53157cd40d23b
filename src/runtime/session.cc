#include "runtime/session.h"

#include <algorithm>

#include "ops/infer.h"
#include "ops/op.h"
#include "plan/profile.h"

namespace verdict {

Session::Session(std::shared_ptr<const Engine> engine) : engine_(std::move(engine)) {}

Session::~Session() {
  if (arena_ != nullptr) arena_->Release(arena_bytes_);
}

Result<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Engine> engine,
                                                 std::shared_ptr<Arena> arena) {
  std::unique_ptr<Session> session(new Session(std::move(engine)));
  const Graph& graph = session->engine_->graph();
  const Plan& plan = session->engine_->plan();
  uint64_t bytes = 0;
  for (const Layout& layout : plan.layouts) bytes = std::max(bytes, layout.arena_bytes);
  if (arena == nullptr) arena = std::make_shared<Arena>();
  VERDICT_RETURN_IF_ERROR(arena->Reserve(bytes).WithContext("a session"));
  session->arena_ = std::move(arena);
  session->arena_bytes_ = bytes;
  session->values_.resize(static_cast<size_t>(graph.num_values()));
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    if (const Constant* constant = graph.constant(id)) session->value(id) = constant->view();
  }
  size_t num_inputs = 0, num_outputs = 0;
  for (const Node& node : graph.nodes) {
    session->steps_.push_back({num_inputs, num_outputs, FindOp(node.op)->is_view});
    num_inputs += node.inputs.size();
    num_outputs += node.outputs.size();
  }
  session->step_inputs_.resize(num_inputs);
  session->step_outputs_.resize(num_outputs);
  session->outputs_.resize(graph.outputs.size());
  session->input_shapes_.resize(graph.inputs.size());

  // Shape and Size read no contents; what else a node makes depends on what it reads.
  session->depends_on_data_.assign(session->values_.size(), false);
  for (ValueId id : graph.inputs) session->depends_on_data_[static_cast<size_t>(id)] = true;
  size_t most_inputs = 0;
  for (const Node& node : graph.nodes) {
    most_inputs = std::max(most_inputs, node.inputs.size());
    if (node.op == "Shape" || node.op == "Size") continue;
    const bool depends = std::ranges::any_of(node.inputs, [&](ValueId id) {
      return id != kNoValue && session->depends_on_data_[static_cast<size_t>(id)];
    });
    for (ValueId id : node.outputs) {
      if (id != kNoValue) session->depends_on_data_[static_cast<size_t>(id)] = depends;
    }
  }
  session->rule_inputs_.resize(most_inputs);

  // Which of those views point into the caller's inputs, directly or through views.
  std::vector<size_t> input_of(session->values_.size(), graph.inputs.size());
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    input_of[static_cast<size_t>(graph.inputs[i])] = i;
  }
  const auto note = [&](TensorView* view, ValueId id) {
    if (id == kNoValue) return;
    const auto root = static_cast<size_t>(plan.storage[static_cast<size_t>(id)]);
    if (input_of[root] < graph.inputs.size()) {
      session->externals_.push_back({view, input_of[root]});
    }
  };
  for (size_t step = 0; step < graph.nodes.size(); ++step) {
    const Node& node = graph.nodes[step];
    const StepViews& views = session->steps_[step];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      note(&session->step_inputs_[views.first_input + i], node.inputs[i]);
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      note(&session->step_outputs_[views.first_output + i], node.outputs[i]);
    }
  }
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    note(&session->outputs_[i], graph.outputs[i]);
  }
  return session;
}

Status Session::CheckInputs(std::span<const TensorView> inputs) const {
  const auto specs = engine_->inputs();
  if (inputs.size() != specs.size()) {
    return InvalidArgument("the engine has " + std::to_string(specs.size()) + " inputs, got " +
                           std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype != specs[i].dtype) {
      return InvalidArgument("input '" + specs[i].name + "' has element type " +
                             std::string(DataTypeName(inputs[i].dtype)) + ", the engine takes " +
                             std::string(DataTypeName(specs[i].dtype)));
    }
  }
  return OkStatus();
}

Status Session::ChooseProfile(std::span<const TensorView> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) input_shapes_[i] = inputs[i].shape;
  const auto profiles = engine_->profiles();
  for (profile_ = 0; profile_ < profiles.size(); ++profile_) {
    if (Covers(profiles[profile_], input_shapes_)) return OkStatus();
  }
  return CheckShapes(profiles.back(), input_shapes_);
}

/// Infers a step's output shapes and gives each output its memory. The rule sees no contents that
/// depend on the request: shapes must follow from the inputs' shapes alone, since later runs of the
/// same shapes do not ask again.
Status Session::PlaceOutputs(size_t step, std::span<const TensorView> inputs,
                             std::span<TensorView> outputs) {
  const Node& node = engine_->graph().nodes[step];
  const Plan& plan = engine_->plan();
  const Layout& layout = plan.layouts[profile_];
  std::ranges::fill(outputs, TensorView{});
  const std::span rule_inputs(rule_inputs_.data(), inputs.size());
  std::ranges::copy(inputs, rule_inputs.begin());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id != kNoValue && depends_on_data_[static_cast<size_t>(id)]) rule_inputs[i].data = nullptr;
  }
  VERDICT_RETURN_IF_ERROR(InferNode(node, rule_inputs, outputs, nullptr));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ValueId id = node.outputs[i];
    if (id == kNoValue) continue;
    if (!outputs[i].shape.IsStatic()) {
      return InvalidArgument(Graph::Describe(node) + ": the shape of output '" +
                             engine_->graph().value(id).name +
                             "' depends on the data at these input shapes, which an engine cannot "
                             "plan for");
    }
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(outputs[i].dtype, outputs[i].shape));
    const auto root = static_cast<size_t>(plan.storage[static_cast<size_t>(id)]);
    if (steps_[step].is_view) {
      VERDICT_ASSIGN_OR_RETURN(const size_t source, ByteSize(inputs[0].dtype, inputs[0].shape));
      if (bytes != source) return Internal(Graph::Describe(node) + ": a view changed its size");
      outputs[i].data = inputs[0].data;
    } else {
      if (layout.offset[root] == Layout::kNotInArena || bytes > layout.capacity[root]) {
        return DataLoss(Graph::Describe(node) + ": the plan has no room for output '" +
                        engine_->graph().value(id).name + "' of shape " +
                        ToString(outputs[i].shape) +
                        "; build the engine with these input shapes as --optShapes");
      }
      outputs[i].data = memory_ + layout.offset[root];
    }
    value(id) = outputs[i];
  }
  const Tactic& tactic = *engine_->tactics()[step];
  if (tactic.scratch_bytes != nullptr &&
      tactic.scratch_bytes(node, inputs, outputs) > layout.scratch_bytes) {
    return DataLoss(Graph::Describe(node) +
                    ": the plan has too little scratch; build the engine with these input shapes "
                    "as --optShapes");
  }
  return OkStatus();
}

Status Session::RunStep(size_t step) {
  const StepViews& views = steps_[step];
  if (views.is_view) return OkStatus();
  const Node& node = engine_->graph().nodes[step];
  const Plan& plan = engine_->plan();
  const Layout& layout = plan.layouts[profile_];
  KernelContext context{node,
                        {step_inputs_.data() + views.first_input, node.inputs.size()},
                        {step_outputs_.data() + views.first_output, node.outputs.size()},
                        {memory_ + layout.scratch_offset, layout.scratch_bytes},
                        engine_->contents().packed.subspan(plan.steps[step].packed_offset,
                                                           plan.steps[step].packed_bytes)};
  return engine_->tactics()[step]->run(context);
}

Status Session::RunBound() {
  for (size_t step = 0; step < steps_.size(); ++step) VERDICT_RETURN_IF_ERROR(RunStep(step));
  return OkStatus();
}

/// Runs while it infers: a rule that needs contents (Reshape's target) finds them computed.
Status Session::RunAndBind() {
  const Graph& graph = engine_->graph();
  for (size_t step = 0; step < steps_.size(); ++step) {
    const Node& node = graph.nodes[step];
    const std::span inputs(step_inputs_.data() + steps_[step].first_input, node.inputs.size());
    const std::span outputs(step_outputs_.data() + steps_[step].first_output, node.outputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = node.inputs[i] == kNoValue ? TensorView{} : value(node.inputs[i]);
    }
    VERDICT_RETURN_IF_ERROR(PlaceOutputs(step, inputs, outputs));
    VERDICT_RETURN_IF_ERROR(RunStep(step));
  }
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = value(graph.outputs[i]);
  bound_ = true;
  return OkStatus();
}

void Session::FollowDevice() {
  if (device_ == nullptr) device_ = std::make_unique<SessionDevice>();
  device_generation_ = device_->Follow(*engine_);
}

std::string_view Session::last_backend() const {
  const std::string_view device = device_ == nullptr ? "" : device_->answered_by();
  return device.empty() ? "cpu" : device;
}

Result<std::span<const TensorView>> Session::Run(std::span<const TensorView> inputs,
                                                 DeviceEngine::Clock::time_point until,
                                                 DeviceRun* run) {
  VERDICT_RETURN_IF_ERROR(CheckInputs(inputs));
  if (engine_->device_slot().generation() != device_generation_) [[unlikely]]
    FollowDevice();
  if (device_ != nullptr) {
    if (device_->Run(*engine_, inputs, until, run)) return device_->outputs();
    if (run != nullptr && *run) return std::span<const TensorView>();
  }
  if (std::byte* memory = arena_->Acquire(); memory != memory_) {
    memory_ = memory;
    bound_ = false;
  }
  if (bound_ && std::ranges::equal(inputs, input_shapes_, {}, &TensorView::shape)) {
    for (const External& external : externals_) external.view->data = inputs[external.input].data;
    VERDICT_RETURN_IF_ERROR(RunBound());
    return std::span<const TensorView>(outputs_);
  }
  bound_ = false;
  VERDICT_RETURN_IF_ERROR(ChooseProfile(inputs));
  for (size_t i = 0; i < inputs.size(); ++i) value(engine_->graph().inputs[i]) = inputs[i];
  VERDICT_RETURN_IF_ERROR(RunAndBind());
  return std::span<const TensorView>(outputs_);
}

}  // namespace verdict
