#pragma once

#include <string>
#include <string_view>

#include "ir/graph.h"

namespace verdict {

/// The graph as text, for people and for tests. One line per input, constant, node and output:
///
///     graph "mlp" {
///       input %x: f32[N,3]
///       const %w: f32[3,2] = [1, 0.5, -2, 0, 3, 1]
///       %y: f32[N,2] = Gemm(%x, %w, _) {alpha=1.0, transB=0}
///       output %y
///     }
///
/// Constants of more than 64 elements print as `= #<CRC-32C>`. Floats print so that reading gives
/// the same bits.
std::string PrintGraph(const Graph& graph);

/// "{alpha=1.0, transB=0}": as PrintGraph writes them.
std::string PrintAttributes(const Attributes& attributes);

/// Reads what PrintGraph writes; also `= fill(v)`, and `= seed(n)` for reproducible pseudo-random
/// floats in [-1, 1). Types and shapes of node outputs may be left out (`%y = Add(%a, %b)`): shape
/// inference fills them in. Errors: kInvalidArgument with the line number.
Result<Graph> ParseGraph(std::string_view text);

}  // namespace verdict
