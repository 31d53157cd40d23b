#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/engine_file.h"
#include "plan/profile.h"

namespace verdict {

struct PassTiming {
  std::string name;
  double microseconds = 0;
  int nodes_before = 0;
  int nodes_after = 0;
};

struct CompileOptions {
  NamedShapes min_shapes, opt_shapes, max_shapes;
  std::vector<std::string>
      disabled_passes;  // names; an unknown one is an error that lists the known
  std::string backend;  // empty: best available
  /// Where measured times are kept; read if it exists, written if it grew. Empty: nothing is kept.
  std::filesystem::path timing_cache;
  bool error_on_timing_cache_miss = false;
  uint64_t golden_seed = 1;
  /// Called with the graph when the passes have run; may quantize it. May be empty.
  std::function<Status(Graph& graph)> after_passes;
  std::function<void(const std::string&)> log;  // --verbose lines; may be empty
};

struct CompileResult {
  EngineContents contents;
  std::vector<PassTiming> passes;
};

/// Turns an imported graph into an engine: passes, profile, plan, packed weights, golden vectors.
/// Errors: kInvalidArgument for options; the passes', shape rules' and planner's errors.
Result<CompileResult> Compile(Graph graph, const CompileOptions& options);

}  // namespace verdict
