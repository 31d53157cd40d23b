#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "backends/cpu/tree_packing.h"

namespace verdict::cpu {

/// Walks in flight, so that one goes on while another waits for memory: none of their steps is a
/// branch that could be guessed wrong.
inline constexpr size_t kTreeLanes = 8;

/// One step each of kTreeLanes walks. `next` becomes the child; `at` too, unless it is a leaf: who
/// has arrived takes the last step again.
template <typename TChild, typename Nodes, typename Ranks>
inline void StepLanes(const Nodes& nodes, const Ranks& ranks, std::array<TChild, kTreeLanes>& at,
                      std::array<TChild, kTreeLanes>& next) {
#pragma GCC unroll 8
  for (size_t i = 0; i < kTreeLanes; ++i) {
    const TreeNode<TChild>& node = nodes(i)[at[i]];
    next[i] = node.children[ranks(i)[node.column] > node.cut ? 1 : 0];
    at[i] = (next[i] & TreeNode<TChild>::kLeaf) != 0 ? at[i] : next[i];
  }
}

/// Where kTreeLanes rows end in one tree. `ranks` has each row's.
template <typename TChild>
std::array<TChild, kTreeLanes> WalkRows(const TreeNode<TChild>* nodes,
                                        const std::array<const int8_t*, kTreeLanes>& ranks) {
  constexpr TChild kLeaf = TreeNode<TChild>::kLeaf;
  std::array<TChild, kTreeLanes> at{}, next{};
  TChild all = 0;
  do {
    StepLanes<TChild>([&](size_t) { return nodes; }, [&](size_t i) { return ranks[i]; }, at, next);
    all = kLeaf;
    for (const TChild child : next) all &= child;
  } while ((all & kLeaf) == 0);
  for (TChild& child : next) child &= static_cast<TChild>(~kLeaf);
  return next;
}

/// Where one row ends in each tree. After every few steps those that have arrived are left behind:
/// trees that are grown leaf by leaf have paths of very different lengths.
///
/// leaves: [trees], becomes the leaves, each with its highest bit set.
/// open: [trees + kTreeLanes], for use in here.
template <typename TChild>
void WalkTrees(std::span<const TreeSpan> trees, const TreeNode<TChild>* nodes, const int8_t* ranks,
               size_t first_steps, TChild* leaves, uint32_t* open) {
  constexpr TChild kLeaf = TreeNode<TChild>::kLeaf;
  constexpr size_t kFurtherSteps = 3;
  // Walks on in the trees that tree_of numbers, and lists those that are not done.
  const auto pass = [&](size_t count, size_t steps, bool is_first, auto tree_of) {
    size_t still_open = 0;
    for (size_t begin = 0; begin < count; begin += kTreeLanes) {
      std::array<const TreeNode<TChild>*, kTreeLanes> roots;
      std::array<uint32_t, kTreeLanes> ids;
      std::array<TChild, kTreeLanes> at{}, next{};
#pragma GCC unroll 8
      for (size_t i = 0; i < kTreeLanes; ++i) {
        ids[i] = tree_of(std::min(begin + i, count - 1));
        roots[i] = nodes + trees[ids[i]].first_node;
        if (!is_first) at[i] = leaves[ids[i]];
      }
      for (size_t step = 0; step < steps; ++step) {
        StepLanes<TChild>([&](size_t i) { return roots[i]; }, [&](size_t) { return ranks; }, at,
                          next);
      }
#pragma GCC unroll 8
      for (size_t i = 0; i < kTreeLanes; ++i) {
        leaves[ids[i]] = next[i];
        open[still_open] = ids[i];  // at or before what has been read
        still_open += begin + i < count && (next[i] & kLeaf) == 0 ? 1 : 0;
      }
    }
    return still_open;
  };
  size_t count =
      pass(trees.size(), first_steps, true, [](size_t i) { return static_cast<uint32_t>(i); });
  while (count != 0) {
    count = pass(count, kFurtherSteps, false, [&](size_t i) { return open[i]; });
  }
}

}  // namespace verdict::cpu
