#include "quant/sample_axes.h"

#include <algorithm>
#include <string>

namespace verdict {
namespace {

/// Where `extent` is in `shape`, -1 if nowhere.
int AxisOf(const Shape& shape, Dim extent) {
  const auto dims = shape.dims();
  const auto it = std::ranges::find(dims, extent);
  return it == dims.end() ? -1 : static_cast<int>(it - dims.begin());
}

bool AllStatic(const Graph& graph, const std::vector<ValueId>& ids) {
  return std::ranges::all_of(ids, [&](ValueId id) { return graph.value(id).shape.IsStatic(); });
}

bool StartsWithSymbol(const Shape& shape) { return shape.rank() > 0 && IsSymbol(shape[0]); }

/// The symbols that every input has, in the order of the first input's extents.
std::vector<Dim> SharedSymbols(const Graph& graph) {
  std::vector<Dim> shared;
  for (const Dim extent : graph.value(graph.inputs.front()).shape.dims()) {
    const bool everywhere = std::ranges::all_of(
        graph.inputs, [&](ValueId id) { return AxisOf(graph.value(id).shape, extent) >= 0; });
    if (IsSymbol(extent) && everywhere) shared.push_back(extent);
  }
  return shared;
}

/// True if every output that varies at all varies with `symbol`.
bool OutputsHave(const Graph& graph, Dim symbol) {
  return std::ranges::all_of(graph.outputs, [&](ValueId id) {
    const Shape& shape = graph.value(id).shape;
    return shape.IsStatic() || AxisOf(shape, symbol) >= 0;
  });
}

}  // namespace

Result<SampleAxes> FindSampleAxes(const Graph& graph) {
  if (graph.inputs.empty()) return InvalidArgument("the model has no inputs to feed samples to");
  SampleAxes axes;
  // Outputs of fixed extents are one sample's, however long its sequence is.
  const bool fixed_outputs = !graph.outputs.empty() && AllStatic(graph, graph.outputs);
  if (fixed_outputs || AllStatic(graph, graph.inputs)) return axes;

  const std::vector<Dim> shared = SharedSymbols(graph);
  Dim batch = 0;  // no symbol
  if (!shared.empty()) {
    const auto in_outputs =
        std::ranges::find_if(shared, [&](Dim symbol) { return OutputsHave(graph, symbol); });
    batch = in_outputs == shared.end() ? shared.front() : *in_outputs;
  }
  for (ValueId id : graph.inputs) {
    const Value& input = graph.value(id);
    if (batch == 0 && !StartsWithSymbol(input.shape)) {
      return InvalidArgument("input '" + input.name + "' " + graph.ShapeText(input.shape) +
                             ": which extent is the batch? All inputs must share a symbolic one; "
                             "export the model with one dynamic axis of the same name in each");
    }
    axes.inputs.push_back(batch == 0 ? 0 : AxisOf(input.shape, batch));
  }
  for (ValueId id : graph.outputs) {
    const Shape& shape = graph.value(id).shape;
    const int axis = batch == 0 ? -1 : AxisOf(shape, batch);
    // An extent about which nothing is known, in the place where the batch usually is.
    axes.outputs.push_back(axis < 0 && StartsWithSymbol(shape) ? 0 : axis);
  }
  return axes;
}

}  // namespace verdict
