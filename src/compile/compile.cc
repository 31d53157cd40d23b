#include "compile/compile.h"

#include "backends/planner.h"
#include "compile/golden.h"
#include "compile/pipeline.h"
#include "tune/tuner.h"

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

  TimingCache cache;
  if (!options.timing_cache.empty()) {
    VERDICT_ASSIGN_OR_RETURN(cache, TimingCache::Load(options.timing_cache));
  }
  VERDICT_ASSIGN_OR_RETURN(Tuner tuner,
                           Tuner::Create(graph, contents.profiles,
                                         {.cache = &cache,
                                          .error_on_cache_miss = options.error_on_timing_cache_miss,
                                          .log = options.log}));
  PlannerOptions planner{.backend = options.backend, .log = options.log};
  planner.choose = [&](const Node& node, std::span<const Tactic* const> candidates) {
    return tuner.Choose(node, candidates);
  };
  VERDICT_ASSIGN_OR_RETURN(PlannedGraph planned, PlanGraph(graph, contents.profiles, planner));
  if (!options.timing_cache.empty() && cache.changed()) {
    VERDICT_RETURN_IF_ERROR(cache.Save(options.timing_cache));
  }
  contents.graph = std::move(graph);
  contents.plan = std::move(planned.plan);
  contents.packed = planned.packed;
  contents.packed_owner = std::move(planned.packed_owner);
  return result;
}

}  // namespace verdict
