#include "tools/samples/sample_layout.h"

#include "quant/sample_axes.h"
#include "tools/npy.h"

namespace verdict {

Result<SampleLayout> SampleLayout::Of(const Graph& graph) {
  VERDICT_ASSIGN_OR_RETURN(const SampleAxes axes, FindSampleAxes(graph));
  SampleLayout layout;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    SampleInput input{.name = value.name, .dtype = value.dtype};
    input.axis = axes.inputs.empty() ? -1 : axes.inputs[i];
    for (int axis = 0; axis < value.shape.rank(); ++axis) {
      if (axis != input.axis) input.row.push_back(value.shape[axis]);
    }
    input.open = !input.row.IsStatic();
    input.model_has = std::string(NumpyName(value.dtype)) + " " + graph.ShapeText(value.shape);
    layout.inputs_.push_back(std::move(input));
  }
  return layout;
}

std::vector<std::string> SampleLayout::Names() const {
  std::vector<std::string> names;
  for (const SampleInput& input : inputs_) names.push_back(input.name);
  return names;
}

Status SampleLayout::BindCount(size_t index, int64_t count) {
  const SampleInput& input = inputs_[index];
  const std::string what = std::to_string(count) + (count == 1 ? " value" : " values");
  if (input.row.IsStatic()) {
    VERDICT_ASSIGN_OR_RETURN(const int64_t needed, NumElements(input.row));
    return needed == count ? OkStatus() : Mismatch(input, what);
  }
  Dim symbol = 0;
  int64_t others = 1;  // the product of the extents that are known
  for (const Dim extent : input.row.dims()) {
    if (!IsSymbol(extent)) {
      // Beyond the count nothing divides it, so that the product may stay there.
      if (extent > count || others > count) return Mismatch(input, what);
      others *= extent;
    } else if (symbol == 0) {
      symbol = extent;
    } else {
      return InvalidArgument(
          "the model takes " + input.model_has +
          ", and a flat list of values leaves more than one of the extents open; "
          "nest the values as the shape says (JSON lines), or use .npz");
    }
  }
  if (count == 0 || others == 0 || count % others != 0) return Mismatch(input, what);
  Bind(symbol, count / others);
  return OkStatus();
}

Status SampleLayout::BindExtents(size_t index, std::span<const int64_t> extents) {
  const SampleInput& input = inputs_[index];
  std::string text;
  for (const int64_t extent : extents) text += (text.empty() ? "" : ",") + std::to_string(extent);
  const std::string what = "the shape [" + text + "]";
  if (extents.size() != static_cast<size_t>(input.row.rank())) return Mismatch(input, what);
  for (int axis = 0; axis < input.row.rank(); ++axis) {
    const int64_t extent = extents[static_cast<size_t>(axis)];
    if (IsSymbol(input.row[axis]) && extent > 0) Bind(input.row[axis], extent);
    if (input.row[axis] != extent) return Mismatch(input, what);
  }
  return OkStatus();
}

Status SampleLayout::Mismatch(const SampleInput& input, const std::string& what) const {
  std::string message = "a sample has " + what + ", the model takes " + input.model_has;
  if (one_a_run()) message += " (one sample a run)";
  if (input.open && input.row.IsStatic()) {
    message += ", and the samples before have " + ToString(input.row) +
               "; all samples of a file must be of the same length: pad them, or use files apart";
  }
  return InvalidArgument(std::move(message));
}

void SampleLayout::Bind(Dim symbol, int64_t extent) {
  for (SampleInput& input : inputs_) {
    for (int axis = 0; axis < input.row.rank(); ++axis) {
      if (input.row[axis] == symbol) input.row[axis] = extent;
    }
  }
}

}  // namespace verdict
