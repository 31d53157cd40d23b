#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compile/compile.h"
#include "passes/pass.h"

namespace verdict {

/// The passes in the order in which they run.
std::span<const Pass* const> Pipeline();

/// Runs the pipeline: after every pass that changed something come shape inference and the
/// verifier. disabled: names of passes to leave out. Errors: kInvalidArgument for an unknown name,
/// with the known ones; kInternal, naming the pass, if a pass leaves a graph that does not verify.
Result<std::vector<PassTiming>> RunPasses(Graph& graph, std::span<const std::string> disabled);

}  // namespace verdict
