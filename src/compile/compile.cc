#include "compile/compile.h"

#include "backends/planner.h"
#include "compile/golden.h"
#include "compile/pipeline.h"
#include "ops/infer.h"
#include "ops/verify.h"
#include "plan/lower.h"
#include "tune/tuner.h"

namespace verdict {

Result<CompileResult> Compile(Graph graph, const CompileOptions& options) {
  CompileResult result;
  // First: a wrong flag should not cost the time of the passes.
  VERDICT_ASSIGN_OR_RETURN(Profile profile, MakeProfile(graph, options.min_shapes,
                                                        options.opt_shapes, options.max_shapes));

  // Golden outputs come from the model as imported, so that they check the passes too. A quantized
  // one's come from what it is lowered to: where a sum is near the border of two quanta, any
  // rounding decides. What else the caller has changed is right as it is.
  EngineContents& contents = result.contents;
  const Graph imported = graph;
  VERDICT_ASSIGN_OR_RETURN(result.passes, RunPasses(graph, options.disabled_passes));
  if (options.after_passes) {
    VERDICT_RETURN_IF_ERROR(options.after_passes(graph));
    VERDICT_RETURN_IF_ERROR(VerifyGraph(graph));
    VERDICT_RETURN_IF_ERROR(InferShapes(graph));
  }
  VERDICT_ASSIGN_OR_RETURN(contents.lowered, Lower(graph));
  const Graph& original = options.after_passes ? graph : imported;
  VERDICT_ASSIGN_OR_RETURN(
      contents.golden, MakeGoldenVectors(contents.lowered ? *contents.lowered : original, profile,
                                         options.golden_seed));
  contents.profiles.push_back(std::move(profile));

  const Graph& executable = contents.lowered ? *contents.lowered : graph;
  TimingCache cache;
  if (!options.timing_cache.empty()) {
    VERDICT_ASSIGN_OR_RETURN(cache, TimingCache::Load(options.timing_cache));
  }
  VERDICT_ASSIGN_OR_RETURN(Tuner tuner,
                           Tuner::Create(executable, contents.profiles,
                                         {.cache = &cache,
                                          .error_on_cache_miss = options.error_on_timing_cache_miss,
                                          .log = options.log}));
  PlannerOptions planner{.backend = options.backend, .log = options.log};
  planner.choose = [&](const Node& node, std::span<const Tactic* const> candidates) {
    return tuner.Choose(node, candidates);
  };
  VERDICT_ASSIGN_OR_RETURN(PlannedGraph planned, PlanGraph(executable, contents.profiles, planner));
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
