#include "runtime/engine.h"

#include "backends/planner.h"
#include "backends/registry.h"
#include "ops/infer.h"
#include "plan/memory.h"
#include "plan/profile.h"
#include "runtime/golden_check.h"
#include "runtime/session.h"

namespace verdict {
namespace {

TensorSpec SpecOf(const Value& value) {
  TensorSpec spec{value.name, value.dtype, value.shape};
  for (int axis = 0; axis < spec.shape.rank(); ++axis) {
    if (IsSymbol(spec.shape[axis])) spec.shape[axis] = -1;
  }
  return spec;
}

/// Empty, or why the stored plan cannot be used here.
std::string PlanMismatch(const EngineContents& contents, std::vector<const Tactic*>& tactics) {
  const std::string here = TargetFingerprint();
  if (contents.plan.target.empty()) {
    return "the stored plan is of a version that computed quantized layers otherwise";
  }
  if (contents.plan.target != here) {
    return "the stored plan is for '" + contents.plan.target + "', this machine is '" + here + "'";
  }
  if (contents.plan.steps.size() != contents.executable().nodes.size()) {
    return "the stored plan leaves nodes out";
  }
  for (size_t index = 0; index < contents.plan.steps.size(); ++index) {
    const Step& step = contents.plan.steps[index];
    if (step.node != static_cast<int32_t>(index)) return "the stored plan is out of order";
    const Node& node = contents.executable().nodes[index];
    const Tactic* tactic = FindTactic(node.op, step.tactic);
    if (tactic == nullptr) {
      return "the stored plan uses tactic '" + step.tactic + "', which this build does not have";
    }
    if (const Status status = tactic->accepts(contents.executable(), node); !status.ok()) {
      return "tactic '" + step.tactic + "' declines a node: " + status.message();
    }
    const size_t packed =
        tactic->pack == nullptr ? 0 : tactic->packed_bytes(contents.executable(), node);
    if (packed != step.packed_bytes) {
      return "tactic '" + step.tactic + "' packs " + std::to_string(packed) +
             " bytes, the stored plan has " + std::to_string(step.packed_bytes);
    }
    if (tactic->check_packed != nullptr) {
      const Status status = tactic->check_packed(
          contents.executable(), node, contents.packed.subspan(step.packed_offset, packed));
      if (!status.ok()) return "tactic '" + step.tactic + "': " + status.message();
    }
    tactics.push_back(tactic);
  }
  return {};
}

/// A session infers shapes once per set of input shapes and trusts them from then on, so none may
/// depend on the data. A stored plan is no proof of that.
Status CheckShapesResolve(const Graph& graph, std::span<const Profile> profiles) {
  for (size_t index = 0; index < profiles.size(); ++index) {
    for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt, &InputRange::max}) {
      const auto views = ResolveShapes(graph, CornerShapes(profiles[index], corner));
      if (!views.ok()) return views.status().WithContext("profile " + std::to_string(index));
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<const Engine>> Engine::Load(const std::filesystem::path& path,
                                                   FileAccess access) {
  VERDICT_ASSIGN_OR_RETURN(EngineContents contents, ReadEngineFile(path, access));
  auto engine = FromContents(std::move(contents));
  if (!engine.ok()) return engine.status().WithContext(path.string());
  return engine;
}

Result<std::shared_ptr<const Engine>> Engine::FromContents(EngineContents contents) {
  std::shared_ptr<Engine> engine(new Engine());
  VERDICT_RETURN_IF_ERROR(CheckShapesResolve(contents.executable(), contents.profiles));
  std::vector<const Tactic*> tactics;
  if (std::string why = PlanMismatch(contents, tactics); !why.empty()) {
    VERDICT_ASSIGN_OR_RETURN(PlannedGraph planned,
                             PlanGraph(contents.executable(), contents.profiles, {}));
    contents.plan = std::move(planned.plan);
    contents.packed = planned.packed;
    contents.packed_owner = std::move(planned.packed_owner);
    engine->notice_ = why + "; planned again from the IR";
    tactics.clear();
    for (const Step& step : contents.plan.steps) {
      const Node& node = contents.executable().nodes[static_cast<size_t>(step.node)];
      tactics.push_back(FindTactic(node.op, step.tactic));
    }
  }
  // Which values share memory follows from the graph; a stored answer is not trusted.
  PlanStorage(contents.executable(), contents.plan);
  engine->contents_ = std::move(contents);
  engine->tactics_ = std::move(tactics);
  const Graph& graph = engine->contents_.executable();
  for (ValueId id : graph.inputs) engine->inputs_.push_back(SpecOf(graph.value(id)));
  for (ValueId id : graph.outputs) engine->outputs_.push_back(SpecOf(graph.value(id)));
  return std::shared_ptr<const Engine>(std::move(engine));
}

Status Engine::CheckGolden(const std::shared_ptr<const Engine>& engine) {
  if (engine->contents_.golden.empty()) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(const auto session, Session::Create(engine));
  for (const GoldenVector& golden : engine->contents_.golden) {
    std::vector<TensorView> inputs;
    for (const Constant& input : golden.inputs) inputs.push_back(input.view());
    VERDICT_ASSIGN_OR_RETURN(const auto outputs, session->Run(inputs));
    for (size_t i = 0; i < outputs.size(); ++i) {
      VERDICT_RETURN_IF_ERROR(CompareGolden(golden.outputs[i].view(), outputs[i], golden.tolerance,
                                            engine->outputs_[i].name));
    }
  }
  return OkStatus();
}

}  // namespace verdict
