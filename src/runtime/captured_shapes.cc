#include "runtime/captured_shapes.h"

#include <algorithm>

#include "plan/profile.h"

namespace verdict {
namespace {

/// True if one symbol leads every input: the batch, whatever it is called.
bool HasBatchAxis(const Graph& graph) {
  Dim batch = 0;
  for (const ValueId id : graph.inputs) {
    const Shape& shape = graph.value(id).shape;
    if (shape.rank() == 0 || !IsSymbol(shape[0])) return false;
    if (batch != 0 && shape[0] != batch) return false;
    batch = shape[0];
  }
  return batch != 0;
}

/// The opt shapes with another batch, also where it stands on other axes.
std::vector<Shape> WithBatch(const Graph& graph, const Profile& profile, Dim rows) {
  std::vector<Shape> shapes = CornerShapes(profile, &InputRange::opt);
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Shape& symbolic = graph.value(graph.inputs[i]).shape;
    for (int axis = 0; axis < shapes[i].rank(); ++axis) {
      if (symbolic[axis] == symbolic[0]) shapes[i][axis] = rows;
    }
  }
  return shapes;
}

double Elements(const std::vector<Shape>& shapes) {
  double total = 0;
  for (const Shape& shape : shapes) {
    double elements = 1;
    for (const Dim dim : shape.dims()) elements *= static_cast<double>(dim);
    total += elements;
  }
  return total;
}

}  // namespace

std::vector<std::vector<Shape>> ShapesToCapture(const Graph& graph,
                                                std::span<const Profile> profiles) {
  std::vector<std::vector<Shape>> all;
  const auto add = [&all](std::vector<Shape> shapes) {
    if (std::ranges::find(all, shapes) == all.end()) all.push_back(std::move(shapes));
  };
  const bool batched = HasBatchAxis(graph);
  for (const Profile& profile : profiles) {
    for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt, &InputRange::max}) {
      add(CornerShapes(profile, corner));
    }
    if (!batched) continue;
    const Dim most = profile.inputs.front().max[0];
    for (Dim rows = 1; rows <= most; rows *= 2) {
      std::vector<Shape> shapes = WithBatch(graph, profile, rows);
      if (Covers(profile, shapes)) add(std::move(shapes));
    }
  }
  std::ranges::stable_sort(all, {}, Elements);
  return all;
}

}  // namespace verdict
