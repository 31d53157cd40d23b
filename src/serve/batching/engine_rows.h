#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "ir/graph.h"
#include "runtime/engine.h"

namespace verdict {

/// How the tensors of an engine divide into rows.
struct EngineRows {
  /// The first extent of every input and output is one and the same symbol.
  bool has_batch = false;
  /// No extent but that of the batch varies: any two requests go together.
  bool uniform = true;
  int64_t min = 1, max = 1;  // rows that the profiles take; 1 and 1 without a batch
};

EngineRows RowsOf(const Engine& engine);

/// Bytes of one row of a tensor whose first extent is the batch, by the other extents of `shape`.
size_t RowBytes(DataType dtype, const Shape& shape);

/// Rows [first, first + count) of a tensor whose first extent is the batch.
TensorView RowSlice(const TensorView& tensor, int64_t first, int64_t count);

/// Inputs of zeros (strings: "0", which parses as a number), with `rows` rows where there is a
/// batch, all other extents the largest of a profile that takes so many rows. Errors: none of the
/// profiles takes them.
Result<std::vector<Constant>> ZeroInputs(const Engine& engine, int64_t rows);

/// Inputs on which rows differ: floats random, all else as the golden vectors have it, over and
/// over, or random small numbers where there is none. The other extents are those of the golden
/// vector, or the expected ones. The engine must have a batch. Errors: as ZeroInputs.
Result<std::vector<Constant>> RandomInputs(const Engine& engine, int64_t rows, uint64_t seed);

std::vector<TensorView> Views(std::span<const Constant> tensors);

}  // namespace verdict
