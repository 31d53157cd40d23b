#include "passes/match.h"

#include <algorithm>
#include <cmath>

#include "ops/op.h"

namespace verdict {

Uses::Uses(const Graph& graph)
    : graph_(graph),
      producers_(graph.Producers()),
      counts_(graph.UseCounts()),
      readers_(counts_.size(), -1) {
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    for (ValueId id : graph.nodes[index].inputs) {
      if (id != kNoValue) readers_[static_cast<size_t>(id)] = static_cast<int32_t>(index);
    }
  }
}

void Drop(Node& node) { node = Node{}; }

void Sweep(Graph& graph) {
  std::erase_if(graph.nodes, [](const Node& node) { return node.op.empty(); });
}

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

bool Affine::IsFinite() const {
  const auto finite = [](double value) { return std::isfinite(value); };
  return std::ranges::all_of(scale, finite) && std::ranges::all_of(shift, finite);
}

std::optional<Affine> BatchNormAffine(const Graph& graph, const Node& node, int64_t channels) {
  const auto channel = [&](size_t input) {
    return ChannelConstant(graph, node.inputs[input], channels);
  };
  const auto gamma = channel(1), beta = channel(2), mean = channel(3), variance = channel(4);
  if (!gamma || !beta || !mean || !variance) return std::nullopt;
  const double epsilon = AttributeReader(node).Float("epsilon", 1e-5F);
  Affine affine;
  for (size_t c = 0; c < gamma->size(); ++c) {
    affine.scale.push_back((*gamma)[c] / std::sqrt((*variance)[c] + epsilon));
    affine.shift.push_back((*beta)[c] - (*mean)[c] * affine.scale[c]);
  }
  if (!affine.IsFinite()) return std::nullopt;
  return affine;
}

bool FitFloat(std::span<const double> values) {
  return std::ranges::all_of(values, [](double value) {
    const auto narrow = static_cast<float>(value);
    return std::isfinite(narrow) && (narrow != 0.0F || value == 0.0);
  });
}

ValueId AddFloats(Graph& graph, std::string_view name, const Shape& shape,
                  std::span<const double> values) {
  const std::vector<float> floats(values.begin(), values.end());
  return graph.AddConstant(name, Constant::Of<float>(shape, floats));
}

}  // namespace verdict
