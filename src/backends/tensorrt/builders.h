#pragma once

#include <span>
#include <string>
#include <vector>

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
std::span<const NodeBuilder> RangeBuilders();
std::span<const NodeBuilder> RecurrentBuilders();
std::span<const NodeBuilder> ReduceBuilders();
std::span<const NodeBuilder> ShapeBuilders();
std::span<const NodeBuilder> SliceBuilders();
std::span<const NodeBuilder> UnaryBuilders();

/// Of an operator; null: it has no layers here.
const NodeBuilder* FindBuilder(std::string_view op);

// What their `supports` ask.

/// kUnimplemented with the reason.
Status Decline(std::string reason);
bool HasInput(const Node& node, size_t input);
/// The element type and IR's shape of an input that is there.
DataType InputType(const Graph& graph, const Node& node, size_t input);
const Shape& InputShape(const Graph& graph, const Node& node, size_t input);
/// OK if all inputs and outputs that are not left out are f32.
Status RequireFloat32(const Graph& graph, const Node& node);
/// OK if the input is of the types that layers which only move elements take: all but i8, whose
/// tensors TensorRT wants to stand between quantizing layers alone.
Status RequireMovable(const Graph& graph, const Node& node, size_t input = 0);
/// OK if integers wrap on the device where they do in ours: i64 is i32 below TensorRT 10, where
/// only what follows from shapes is sure to fit.
Status RequireExactIntegers(const Graph& graph, const Node& node);
/// OK if the input is left out or a constant.
Status RequireConstant(const Graph& graph, const Node& node, size_t input);
/// Elements of a constant of i32 or i64. Errors: kUnimplemented: no such constant.
Result<std::vector<int64_t>> IntConstant(const Graph& graph, const Node& node, size_t input);
/// An axis attribute counted from the front; the shape rule has checked it.
int AxisOf(const Node& node, int64_t fallback, int rank);
/// True if the value's contents follow from constants and from shapes alone.
bool FromShapes(const Graph& graph, ValueId id);
/// OK if ReshapeTo can do it with what the network is sure to hold: `from` and the graph's inputs.
Status CanReshape(const Graph& graph, const Shape& from, const Shape& to);
/// OK if every symbol of `shape` is an extent of one of the node's inputs or of the graph's.
Status RequireKnownSymbols(const Graph& graph, const Node& node, const Shape& shape);

// What more than one family adds.

/// Max or Min as ours: NaN if one of both is.
Result<ITensor*> AddGreater(NetworkContext& context, ITensor* a, ITensor* b, bool greater);
/// x >= low and <= high, NaN as it is; null bounds are left out.
Result<ITensor*> AddClip(NetworkContext& context, ITensor* input, ITensor* low, ITensor* high);
/// A bool: where a float is NaN.
Result<ITensor*> AddIsNan(NetworkContext& context, ITensor* input);
/// The index (i32) of the greatest or least f32 or i32 along an axis of a static extent, the first
/// of equals, as ArgMax; the axis stays with extent 1.
Result<ITensor*> AddArgMax(NetworkContext& context, ITensor* input, int axis, int64_t extent,
                           bool greatest);
Result<ITensor*> AddSoftmax(NetworkContext& context, ITensor* input, int axis);

/// OK if the indices of a Gather, GatherElements or GatherND are constants within range, or come
/// from graph inputs through operators that keep integers, so that IndexRanges can tell what to
/// check. (index_ranges.cc)
Status RequireCheckedIndices(const Graph& graph, const Node& node);
/// True if the node's output is nothing but such checked indices: then it is within 32 bits.
bool OnlyIndexes(const Graph& graph, const Node& node);

}  // namespace verdict::tensorrt
