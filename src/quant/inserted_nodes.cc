#include "quant/inserted_nodes.h"

#include <algorithm>
#include <iterator>

namespace verdict {

void InsertedNodes::InsertInto(Graph& graph) {
  std::vector<Node> nodes;
  const auto append = [&](std::map<int32_t, std::vector<Node>>& inserted, size_t index) {
    const auto at = inserted.find(static_cast<int32_t>(index));
    if (at != inserted.end()) std::ranges::move(at->second, std::back_inserter(nodes));
  };
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    append(before_, index);
    nodes.push_back(std::move(graph.nodes[index]));
    append(after_, index);
  }
  graph.nodes = std::move(nodes);
}

}  // namespace verdict
