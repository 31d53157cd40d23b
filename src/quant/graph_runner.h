#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "ir/graph.h"

namespace verdict {

/// Runs a graph, fast: what calibrates and measures has no runtime of its own.
class GraphRunner {
 public:
  virtual ~GraphRunner() = default;
  /// One view per output, in the graph's order, valid until the next Run.
  virtual Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) = 0;
};

using MakeGraphRunner = std::function<Result<std::unique_ptr<GraphRunner>>(Graph graph)>;

}  // namespace verdict
