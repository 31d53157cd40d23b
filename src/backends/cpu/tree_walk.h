#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

#include "backends/cpu/tree_packing.h"

namespace verdict::cpu {

template <typename TChild>
inline TChild ChildOf(const TreeNode<TChild>& node, const int8_t* ranks) {
  return node.children[ranks[node.column] > node.cut ? 1 : 0];
}

/// The node's child if that is a node, else the node itself.
template <typename TChild>
inline const TreeNode<TChild>* StepTo(const TreeNode<TChild>* root, const TreeNode<TChild>* node,
                                      const int8_t* ranks) {
  const int64_t child = static_cast<std::make_signed_t<TChild>>(ChildOf(*node, ranks));
#if defined(__x86_64__)
  // Compilers make a branch of this choice, as often wrong as there are trees.
  const auto next =
      reinterpret_cast<uintptr_t>(root) + static_cast<uint64_t>(child) * sizeof(TreeNode<TChild>);
  asm("test %1, %1\n\tcmovns %2, %0" : "+r"(node) : "r"(child), "r"(next) : "cc");
  return node;
#else
  return child < 0 ? node : root + child;
#endif
}

/// Where kTreeLanes rows end in one tree: the leaves, each with its highest bit set. `ranks` has
/// each row's.
template <typename TChild>
std::array<TChild, kTreeLanes> WalkRows(const TreeNode<TChild>* root, size_t first_steps,
                                        const std::array<const int8_t*, kTreeLanes>& ranks) {
  constexpr TChild kLeaf = TreeNode<TChild>::kLeaf;
  std::array<const TreeNode<TChild>*, kTreeLanes> nodes;
  nodes.fill(root);
  std::array<TChild, kTreeLanes> children;
  TChild all = 0;
  for (size_t steps = first_steps - 1; (all & kLeaf) == 0; steps = 2) {
    for (size_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
      for (size_t i = 0; i < kTreeLanes; ++i) nodes[i] = StepTo(root, nodes[i], ranks[i]);
    }
    all = kLeaf;
#pragma GCC unroll 16
    for (size_t i = 0; i < kTreeLanes; ++i) all &= children[i] = ChildOf(*nodes[i], ranks[i]);
  }
  return children;
}

/// One pass of WalkTrees: `steps` steps in the trees `open` numbers (in all, from their roots, if
/// kIsFirst), of which those become `open` that are not done. Returns how many.
template <bool kIsFirst, typename TChild>
size_t WalkOn(const TreeSpan* trees, size_t count, const TreeNode<TChild>* nodes,
              const int8_t* ranks, size_t steps, TChild* leaves, uint32_t* open) {
  size_t still_open = 0;
  for (size_t begin = 0; begin < count; begin += kTreeLanes) {
    std::array<const TreeNode<TChild>*, kTreeLanes> roots, at;
    std::array<uint32_t, kTreeLanes> ids;
#pragma GCC unroll 16
    for (size_t i = 0; i < kTreeLanes; ++i) {
      ids[i] = kIsFirst ? static_cast<uint32_t>(begin + i) : open[begin + i];
      roots[i] = nodes + trees[ids[i]].first_node;
      at[i] = roots[i] + (kIsFirst ? TChild{0} : leaves[ids[i]]);
    }
    for (size_t step = 1; step < steps; ++step) {
#pragma GCC unroll 16
      for (size_t i = 0; i < kTreeLanes; ++i) at[i] = StepTo(roots[i], at[i], ranks);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kTreeLanes; ++i) {
      const TChild child = ChildOf(*at[i], ranks);
      leaves[ids[i]] = child;
      open[still_open] = ids[i];  // at or before what has been read
      still_open += child < TreeNode<TChild>::kLeaf ? 1 : 0;
    }
  }
  return still_open;
}

/// Where one row ends in each tree. After every few steps those that have arrived are left behind:
/// trees that are grown leaf by leaf have paths of very different lengths.
///
/// trees: `count`, and kTreeLanes - 1 more to walk in, whose leaves do not matter.
/// leaves: as many, become the leaves, each with its highest bit set.
/// open: [count + kTreeLanes], for use in here.
template <typename TChild>
void WalkTrees(const TreeSpan* trees, size_t count, const TreeNode<TChild>* nodes,
               const int8_t* ranks, size_t first_steps, TChild* leaves, uint32_t* open) {
  constexpr size_t kFurtherSteps = 3;
  size_t left = WalkOn<true>(trees, count, nodes, ranks, first_steps, leaves, open);
  while (left != 0 && open[left - 1] >= count) --left;  // of those that do not matter
  while (left != 0) {
    std::fill_n(open + left, kTreeLanes, open[left - 1]);
    left = WalkOn<false>(trees, left, nodes, ranks, kFurtherSteps, leaves, open);
    // The last tree may be there several times.
    while (left > 1 && open[left - 1] == open[left - 2]) --left;
  }
}

}  // namespace verdict::cpu
