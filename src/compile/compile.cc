#include "compile/compile.h"

#include "backends/planner.h"
#include "compile/golden.h"
#include "compile/pipeline.h"

namespace verdict {

Result<CompileResult> Compile(Graph graph, const CompileOptions& options) {
  CompileResult result;
  // First: a wrong flag should not cost the time of the passes.
  VERDICT_ASSIGN_OR_RETURN(Profile profile, MakeProfile(graph, options.min_shapes,
                                                        options.opt_shapes, options.max_shapes));

  // Golden outputs come from the model as imported, so that they check the passes too.
  EngineContents& contents = result.contents;
  VERDICT_ASSIGN_OR_RETURN(contents.golden, MakeGoldenVectors(graph, profile, options.golden_seed));
  VERDICT_ASSIGN_OR_RETURN(result.passes, RunPasses(graph, options.disabled_passes));
  contents.profiles.push_back(std::move(profile));

  VERDICT_ASSIGN_OR_RETURN(
      PlannedGraph planned,
      PlanGraph(graph, contents.profiles, {.backend = options.backend, .log = options.log}));
  contents.graph = std::move(graph);
  contents.plan = std::move(planned.plan);
  auto packed = std::make_shared<std::vector<std::byte>>(std::move(planned.packed));
  contents.packed = *packed;
  contents.packed_owner = std::move(packed);
  return result;
}

}  // namespace verdict
