#pragma once

#include <span>
#include <string>

#include "backends/tensorrt/network_context.h"

namespace verdict::tensorrt {

// The builders by family, one file each: build_<family>.cc. network_builder.cc lists them all.
std::span<const NodeBuilder> ActivationBuilders();
std::span<const NodeBuilder> AttentionBuilders();
std::span<const NodeBuilder> BinaryBuilders();
std::span<const NodeBuilder> CastBuilders();
std::span<const NodeBuilder> ConvolutionBuilders();
std::span<const NodeBuilder> FeatureBuilders();
std::span<const NodeBuilder> GatherBuilders();
std::span<const NodeBuilder> GemmBuilders();
std::span<const NodeBuilder> NormalizationBuilders();
std::span<const NodeBuilder> QuantizationBuilders();
std::span<const NodeBuilder> RecurrentBuilders();
std::span<const NodeBuilder> ReduceBuilders();
std::span<const NodeBuilder> ShapeBuilders();
std::span<const NodeBuilder> SliceBuilders();
std::span<const NodeBuilder> UnaryBuilders();

// What their `supports` ask.

/// kUnimplemented with the reason.
Status Decline(std::string reason);
/// OK if all inputs and outputs that are not left out are f32.
Status RequireFloat32(const Graph& graph, const Node& node);
/// OK if the input is left out or a constant.
Status RequireConstant(const Graph& graph, const Node& node, size_t input);
bool HasInput(const Node& node, size_t input);
/// The IR's shape of an input that is there.
const Shape& InputShape(const Graph& graph, const Node& node, size_t input);
/// Elements of a constant of i32 or i64. Errors: kUnimplemented: no such constant.
Result<std::vector<int64_t>> IntConstant(const Graph& graph, const Node& node, size_t input);
/// True if the value's contents follow from constants and from shapes alone.
bool FromShapes(const Graph& graph, ValueId id);
/// OK if ReshapeTo can do it with what the network is sure to hold: `from` and the graph's inputs.
Status CanReshape(const Graph& graph, const Shape& from, const Shape& to);
/// OK if every symbol of `shape` is an extent of one of the node's inputs or of the graph's.
Status RequireKnownSymbols(const Graph& graph, const Node& node, const Shape& shape);

}  // namespace verdict::tensorrt
