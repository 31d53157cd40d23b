#include "tools/bind_inputs.h"

#include <algorithm>

#include "tools/npy.h"

namespace verdict {
namespace {

std::string Expected(const Graph& graph, const Value& input) {
  return std::string(NumpyName(input.dtype)) + " " + graph.ShapeText(input.shape);
}

/// "x (float32 [N,30]), ids (int64 [N])".
std::string ListInputs(const Graph& graph) {
  std::string text;
  for (ValueId id : graph.inputs) {
    const Value& input = graph.value(id);
    text += (text.empty() ? "" : ", ") + input.name + " (" + Expected(graph, input) + ")";
  }
  return text.empty() ? "none" : text;
}

std::string ListNames(const NamedTensors& tensors) {
  std::string text;
  for (const auto& [name, tensor] : tensors) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "none" : text;
}

bool ShapeFits(const Shape& expected, const Shape& actual) {
  if (expected.rank() != actual.rank()) return false;
  for (int axis = 0; axis < expected.rank(); ++axis) {
    if (!IsSymbol(expected[axis]) && expected[axis] != actual[axis]) return false;
  }
  return true;
}

std::string CastHint(DataType dtype) {
  return dtype == DataType::kString ? ".astype('U')"
                                    : ".astype('" + std::string(NumpyName(dtype)) + "')";
}

}  // namespace

Result<std::vector<TensorView>> BindInputs(const Graph& graph, const NamedTensors& tensors,
                                           const std::string& file) {
  std::vector<TensorView> views;
  for (ValueId id : graph.inputs) {
    const Value& input = graph.value(id);
    const auto it = tensors.find(input.name);
    if (it == tensors.end()) {
      return InvalidArgument(file + ": there is no tensor '" + input.name + "' (" +
                             Expected(graph, input) + "); the file has " + ListNames(tensors));
    }
    const Constant& tensor = it->second;
    const std::string context =
        file + ": tensor '" + input.name + "' is " + std::string(NumpyName(tensor.dtype)) + " " +
        ToString(tensor.shape) + ", the model takes " + Expected(graph, input);
    if (tensor.dtype != input.dtype) {
      return InvalidArgument(context + "; save " + input.name + CastHint(input.dtype));
    }
    if (!ShapeFits(input.shape, tensor.shape)) return InvalidArgument(context);
    views.push_back(tensor.view());
  }
  for (const auto& [name, tensor] : tensors) {
    const ValueId id = graph.FindValue(name);
    if (std::ranges::count(graph.inputs, id) == 0) {
      return InvalidArgument(file + ": the model has no input '" + name + "'; its inputs are " +
                             ListInputs(graph));
    }
  }
  return views;
}

}  // namespace verdict
