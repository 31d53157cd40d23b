#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/tree_packing.h"

namespace verdict::cpu {

/// Rows that are scored together, and bytes of a vector of them.
inline constexpr size_t kTreeRows = 64;

struct TreeRankArgs {
  const TreeKeyTable* tables;
  size_t num_tables;
  const float* keys;
  const float* x;  // the first row
  size_t x_stride;
};

/// ranks[c] = the row's rank in column c, less 128. Threads: pure, as what follows.
void RankRow(const TreeRankArgs& args, int8_t* ranks);

/// The same of `rows` rows, at most kTreeRows: ranks are [columns, kTreeRows], those of further
/// rows some rank.
void RankRows(const TreeRankArgs& args, size_t rows, int8_t* ranks);

/// Where kTreeRows rows end in one tree of at most 128 nodes and leaves: from the last node to the
/// first, every node's answer is blended of its children's answers.
///
/// nodes: the tree's, `count` of them.
/// ranks: [columns, kTreeRows].
/// rows: how many matter, at most kTreeRows.
/// slots: [256, kTreeRows], of which from 128 on each is full of its number less 128, as
/// FillLeafSlots makes them, to be used again.
/// Returns: [kTreeRows] leaves, the first `rows` of which are right, valid until slots change.
const uint8_t* FindLeaves(const TreeNode<uint8_t>* nodes, size_t count, const int8_t* ranks,
                          size_t rows, uint8_t* slots);
void FillLeafSlots(uint8_t* slots);

/// sums[r] += weights[leaves[r]] for the first `rows` rows; the other sums may become anything.
/// leaves, sums: [kTreeRows]. weights: [num_leaves], padded.
void AddLeafWeights(const float* weights, size_t num_leaves, const uint8_t* leaves, size_t rows,
                    float* sums);

}  // namespace verdict::cpu
