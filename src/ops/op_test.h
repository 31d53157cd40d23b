#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "ops/evaluate.h"
#include "ops/op.h"

namespace verdict {

/// A node of `op` with `num_inputs` inputs and `num_outputs` outputs, for tests of one operator
/// alone.
inline Node MakeNode(std::string op, size_t num_inputs, Attributes attributes = {},
                     size_t num_outputs = 1) {
  Node node{.name = "n", .op = std::move(op), .attributes = std::move(attributes)};
  for (size_t i = 0; i < num_inputs; ++i) node.inputs.push_back(static_cast<ValueId>(i));
  for (size_t i = 0; i < num_outputs; ++i) {
    node.outputs.push_back(static_cast<ValueId>(num_inputs + i));
  }
  return node;
}

/// A tensor for a test: Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6}).
template <typename T>
Constant Tensor(const Shape& shape, std::vector<T> values) {
  return Constant::Of<T>(shape, std::span<const T>(values));
}

/// Runs one operator with its shape rule and reference kernel. Pass Constant{} for an input left
/// out.
inline Result<std::vector<Constant>> RunOp(const Node& node, const std::vector<Constant>& inputs) {
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  return EvaluateNode(node, views);
}

/// The elements of a tensor, copied.
template <typename T>
std::vector<T> Values(const Constant& tensor) {
  const auto view = tensor.view();
  const auto span = view.as<const T>();
  return {span.begin(), span.end()};
}

}  // namespace verdict
