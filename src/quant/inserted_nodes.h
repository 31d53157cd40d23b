#pragma once

#include <map>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// Nodes to come before and after others of a graph, kept apart until all are known, so that
/// indices stay.
class InsertedNodes {
 public:
  /// What comes before, or after, the node of that index, in order.
  std::vector<Node>& Before(int32_t node) { return before_[node]; }
  std::vector<Node>& After(int32_t node) { return after_[node]; }

  void InsertInto(Graph& graph);

 private:
  std::map<int32_t, std::vector<Node>> before_;
  std::map<int32_t, std::vector<Node>> after_;
};

}  // namespace verdict
