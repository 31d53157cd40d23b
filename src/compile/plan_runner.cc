#include "compile/plan_runner.h"

#include "compile/run_parts.h"
#include "ops/evaluate.h"

namespace verdict {

Result<std::unique_ptr<PlanRunner>> PlanRunner::Load(const Graph& graph,
                                                     std::span<const PlanPart> sources,
                                                     const DevicePlan& plan, Device& device) {
  std::unique_ptr<PlanRunner> runner(new PlanRunner(graph, sources));
  runner->programs_.resize(sources.size());
  runner->runners_.resize(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!plan.parts[i].part.on_device) continue;
    auto program = device.Load(plan.parts[i].program, sources[i].part.graph, sources[i].profiles);
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
    if (runners_[index] == nullptr) return Evaluate(sources_[index].part.graph, part_inputs);
    VERDICT_ASSIGN_OR_RETURN(const auto views, runners_[index]->Run(part_inputs));
    std::vector<Constant> outputs;
    for (const TensorView& view : views) outputs.push_back(CopyOf(view));
    return outputs;
  };
  return RunParts(graph_, sources_, inputs, run);
}

}  // namespace verdict
