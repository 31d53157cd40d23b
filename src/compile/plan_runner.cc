#include "compile/plan_runner.h"

#include "compile/run_parts.h"
#include "ops/evaluate.h"

namespace verdict {

Result<std::unique_ptr<PlanRunner>> PlanRunner::Load(const Graph& graph,
                                                     std::span<const Profile> profiles,
                                                     const DevicePlan& plan, Device& device) {
  std::vector<Part> places;
  for (const DevicePart& part : plan.parts) places.push_back(part.part);
  std::unique_ptr<PlanRunner> runner(new PlanRunner(graph));
  VERDICT_ASSIGN_OR_RETURN(runner->parts_, ExtractParts(graph, places));
  runner->programs_.resize(places.size());
  runner->runners_.resize(places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    if (!places[i].on_device) continue;
    VERDICT_ASSIGN_OR_RETURN(const std::vector<Profile> part_profiles,
                             PartProfiles(graph, runner->parts_[i], profiles));
    auto program = device.Load(plan.parts[i].program, runner->parts_[i].graph, part_profiles);
    if (!program.ok()) return program.status().WithContext("part " + std::to_string(i));
    runner->programs_[i] = *std::move(program);
    DeviceRunnerOptions options;
    options.graphs = false;
    VERDICT_ASSIGN_OR_RETURN(runner->runners_[i], runner->programs_[i]->NewRunner(options));
  }
  return runner;
}

Result<std::vector<Constant>> PlanRunner::Run(std::span<const TensorView> inputs) {
  const auto run = [&](size_t index,
                       std::span<const TensorView> part_inputs) -> Result<std::vector<Constant>> {
    if (runners_[index] == nullptr) return Evaluate(parts_[index].graph, part_inputs);
    VERDICT_ASSIGN_OR_RETURN(const auto views, runners_[index]->Run(part_inputs));
    std::vector<Constant> outputs;
    for (const TensorView& view : views) outputs.push_back(CopyOf(view));
    return outputs;
  };
  return RunParts(graph_, parts_, inputs, run);
}

}  // namespace verdict
