#pragma once

#include <cstdint>

#include "ir/types.h"
#include "ops/op.h"

namespace verdict {

/// Q, K or V of an Attention as [batch, heads, length, head_size], and where its elements lie.
struct AttentionHeads {
  Dim batch = 0;
  Dim heads = 0;
  Dim length = 0;
  Dim size = 0;
  bool heads_inside = false;  // 3-D: [batch, length, heads * head_size]

  /// Of the vector at (sample, head, position).
  int64_t Offset(int64_t sample, int64_t head, int64_t position) const {
    return heads_inside ? ((sample * length + position) * heads + head) * size
                        : ((sample * heads + head) * length + position) * size;
  }
  /// From one position of a head to the next.
  int64_t RowStride() const { return heads_inside ? heads * size : size; }
};

/// num_heads: for 3-D, at least 1.
AttentionHeads AttentionHeadsOf(const Shape& shape, int64_t num_heads);

/// What an Attention computes, from its attributes and its inputs' (static) shapes.
struct AttentionProblem {
  enum Input : size_t { kQ, kK, kV, kMask };
  AttentionHeads q, k, v, y;
  double scale = 0;
  bool causal = false;
  /// The mask is what Add would add before Softmax: one key stands for all, and a row that it
  /// hides altogether gives NaN. Otherwise keys past the mask's end are hidden, and such a row
  /// gives zeros.
  bool mask_as_add = false;
};
AttentionProblem AttentionProblemOf(const Node& node, std::span<const TensorView> inputs);

/// Where the mask of (sample, head, query, key) lies: the sum of index times stride over the four.
/// An axis of extent 1 has stride 0.
std::array<int64_t, 4> AttentionMaskStrides(const Shape& mask);

}  // namespace verdict
