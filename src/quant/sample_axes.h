#pragma once

#include <vector>

#include "base/status.h"
#include "ir/graph.h"

namespace verdict {

/// Which extent of each input and output counts samples.
struct SampleAxes {
  /// By input, in the graph's order; empty if a run takes one sample.
  std::vector<int> inputs;
  /// By output; -1 where none does. Empty if a run takes one sample.
  std::vector<int> outputs;
};

/// Finds the batch: the first symbolic extent that all inputs share and, where there is a choice,
/// that the outputs have too (x[T,N,F] with a score [N,1]: N). Inputs that share no symbol but
/// all begin with one are batches along their first axis: exporters leave extents unnamed. Without
/// symbols in the inputs, or in the outputs, a run takes one sample.
/// Errors: kInvalidArgument: no inputs, or inputs that vary, but not together. Threads: pure.
Result<SampleAxes> FindSampleAxes(const Graph& graph);

}  // namespace verdict
