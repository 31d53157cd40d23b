#include <algorithm>

#include "passes/pass.h"

namespace verdict {
namespace {

/// Drops nodes none of whose outputs anybody reads (a node that stays keeps its unread optional
/// outputs), then unused constants and symbols.
Result<bool> Run(Graph& graph) {
  std::vector<int32_t> uses = graph.UseCounts();
  const auto is_read = [&](ValueId id) {
    return id != kNoValue && uses[static_cast<size_t>(id)] > 0;
  };
  std::vector<Node> kept;
  for (size_t index = graph.nodes.size(); index-- > 0;) {
    Node& node = graph.nodes[index];
    if (std::ranges::any_of(node.outputs, is_read)) {
      kept.push_back(std::move(node));
      continue;
    }
    for (ValueId id : node.inputs) {
      if (id != kNoValue) --uses[static_cast<size_t>(id)];
    }
  }
  std::ranges::reverse(kept);
  const int32_t values_before = graph.num_values();
  const bool dropped_nodes = kept.size() != graph.nodes.size();
  graph.nodes = std::move(kept);
  graph.RemoveUnusedValues();
  return dropped_nodes || graph.num_values() != values_before;
}

}  // namespace

const Pass kEliminateDeadCode = {.name = "eliminate_dead_code",
                                 .summary = "drop nodes and constants that no output needs",
                                 .run = Run};

}  // namespace verdict
