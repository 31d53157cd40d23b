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

/// Runs `passes`: after every one that changed something come shape inference, the verifier, and
/// a check that the graph's outputs are still as many and have the names, types, ranks and fixed
/// extents that they had before. disabled: names of passes to leave out. Errors: kInvalidArgument
/// for an unknown name, with the known ones; kInternal, naming the pass, if a pass leaves a graph
/// that fails a check.
Result<std::vector<PassTiming>> RunPasses(Graph& graph, std::span<const std::string> disabled,
                                          std::span<const Pass* const> passes = Pipeline());

}  // namespace verdict
