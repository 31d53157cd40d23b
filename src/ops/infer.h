#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// Runs every node's shape rule in order and writes types and shapes into the graph's values. Small
/// integer values that follow from constants and shapes (the Shape, Gather, Concat chains before a
/// Reshape) are computed on the way. Errors: the first rule's error, naming the node.
Status InferShapes(Graph& graph);

/// InferShapes one node at a time, for a graph that is being built.
class ShapeInference {
 public:
  explicit ShapeInference(Graph& graph);
  ~ShapeInference();

  /// Runs a node's shape rule and writes its outputs' types and shapes into the graph's values.
  /// What the node reads must have been visited before.
  Status Visit(const Node& node);

  /// A value's type and shape, and its contents where they follow from constants and shapes (`data`
  /// is null where not; valid as long as this lives).
  TensorView Known(ValueId id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// As InferShapes, for static input shapes, without touching the graph.
/// input_shapes: one per graph input, in order. Returns: per value of the graph its type and static
/// shape (`data` null). Errors: kInvalidArgument where a rule refuses; kUnimplemented, naming the
/// node, where an extent depends on the data.
Result<std::vector<TensorView>> ResolveShapes(const Graph& graph,
                                              std::span<const Shape> input_shapes);

/// Extents beyond this are refused, so that shape rules can calculate with them without overflow.
inline constexpr Dim kMaxExtent = Dim{1} << 40;

/// Runs one node's shape rule. inputs/outputs: as InferContext. Errors: the rule's;
/// kInvalidArgument where an output has an extent beyond kMaxExtent.
Status InferNode(const Node& node, std::span<const TensorView> inputs,
                 std::span<TensorView> outputs, Graph* graph);

}  // namespace verdict
