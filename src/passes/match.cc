#include "passes/match.h"

namespace verdict {

std::optional<std::vector<double>> FloatConstant(const Graph& graph, ValueId id) {
  const Constant* constant = graph.constant(id);
  if (constant == nullptr) return std::nullopt;
  if (constant->dtype == DataType::kFloat32) {
    const auto values = constant->view().as<const float>();
    return std::vector<double>(values.begin(), values.end());
  }
  if (constant->dtype == DataType::kFloat64) {
    const auto values = constant->view().as<const double>();
    return std::vector<double>(values.begin(), values.end());
  }
  return std::nullopt;
}

std::optional<double> ScalarConstant(const Graph& graph, ValueId id) {
  const auto values = FloatConstant(graph, id);
  if (!values || values->size() != 1) return std::nullopt;
  return values->front();
}

std::optional<std::vector<double>> ChannelConstant(const Graph& graph, ValueId id,
                                                   int64_t channels) {
  auto values = FloatConstant(graph, id);
  if (!values) return std::nullopt;
  if (values->size() == 1) {
    values->assign(static_cast<size_t>(channels), values->front());
    return values;
  }
  const Shape& shape = graph.value(id).shape;
  const bool is_channels = static_cast<int64_t>(values->size()) == channels && shape.rank() > 0 &&
                           shape[shape.rank() - 1] == channels;
  if (!is_channels) return std::nullopt;
  return values;
}

ValueId AddFloats(Graph& graph, std::string_view name, const Shape& shape,
                  std::span<const double> values) {
  const std::vector<float> floats(values.begin(), values.end());
  return graph.AddConstant(name, Constant::Of<float>(shape, floats));
}

}  // namespace verdict
