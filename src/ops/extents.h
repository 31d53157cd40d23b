#pragma once

#include <string>
#include <string_view>

#include "ops/op.h"

namespace verdict {

/// True unless the two extents are known to differ.
constexpr bool MayEqual(Dim a, Dim b) { return a == b || IsSymbol(a) || IsSymbol(b); }

/// Of two extents that are equal, the one that says more.
constexpr Dim MoreKnown(Dim a, Dim b) { return IsSymbol(a) ? b : a; }

/// "[N,16]" with the graph's symbol names where there is a graph.
std::string ShapeText(const InferContext& context, const Shape& shape);

/// "input 2 (scale) has shape [3]", for messages. name: the input's name in ONNX.
std::string InputText(const InferContext& context, size_t input, std::string_view name);

/// Error, naming the input, unless it has min_rank to max_rank dimensions.
Status RequireRank(const InferContext& context, size_t input, std::string_view name, int min_rank,
                   int max_rank = Shape::kMaxRank);

/// Error, naming the input, unless it has the rank of `expected` and no extent known to differ.
Status RequireShape(const InferContext& context, size_t input, std::string_view name,
                    const Shape& expected);

}  // namespace verdict
