#pragma once

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
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

/// Output 0 of `op` on these inputs, which must succeed.
inline Constant Compute(const std::string& op, const std::vector<Constant>& inputs,
                        Attributes attributes = {}) {
  auto result = RunOp(MakeNode(op, inputs.size(), std::move(attributes)), inputs);
  EXPECT_TRUE(result.ok()) << op << ": " << result.status().ToString();
  return result.ok() ? (*result)[0] : Constant{};
}

/// The error of `op` on these inputs, which must fail.
inline std::string Message(const std::string& op, const std::vector<Constant>& inputs,
                           Attributes attributes = {}) {
  auto result = RunOp(MakeNode(op, inputs.size(), std::move(attributes)), inputs);
  EXPECT_FALSE(result.ok()) << op;
  return result.status().message();
}

/// A list: indices, axes, a shape.
inline Constant Ints(std::vector<int64_t> values) {
  const Shape shape{static_cast<Dim>(values.size())};
  return Tensor<int64_t>(shape, std::move(values));
}

/// 0, 1, 2, … of a shape.
inline Constant Iota(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(NumElements(shape).value()));
  std::iota(values.begin(), values.end(), 0.F);
  return Tensor<float>(shape, std::move(values));
}

/// A bool tensor (std::vector<bool> has no span).
inline Constant Bools(const Shape& shape, std::initializer_list<bool> values) {
  return Constant::Of<bool>(shape, std::span(values.begin(), values.size()));
}

/// The elements of a tensor, copied; strings with their characters, which may end with the tensor.
template <typename T,
          typename Copy = std::conditional_t<std::is_same_v<T, std::string_view>, std::string, T>>
std::vector<Copy> Values(const Constant& tensor) {
  if (tensor.dtype == DataType::kUndefined) return {};  // Compute has reported why
  const auto view = tensor.view();
  const auto span = view.as<const T>();
  return std::vector<Copy>(span.begin(), span.end());
}

}  // namespace verdict
