#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op.h"
#include "plan/plan.h"

namespace verdict {

/// One way to compute one operator: a candidate for a node. Plain functions; immutable.
struct Tactic {
  std::string_view id;  // unique, "<backend>[:<isa>]/<kernel>"
  std::string_view op;  // the operator it computes

  /// OK if it can compute this node; otherwise why not, in a few words (`verdict build --verbose`
  /// prints it).
  Status (*accepts)(const Graph& graph, const Node& node);

  /// Lays the node's constant inputs out as the kernel reads them; null: nothing to pack. The
  /// result must depend on the node alone.
  Result<std::vector<std::byte>> (*pack)(const Graph& graph, const Node& node) = nullptr;

  /// Size of what `pack` makes, so that a loader can tell a stored blob of the wrong size; set if
  /// `pack` is.
  size_t (*packed_bytes)(const Graph& graph, const Node& node) = nullptr;

  /// Checks a stored blob of the right size, from a file that anybody may have written; null: any
  /// bytes are safe to run. Errors: kDataLoss.
  Status (*check_packed)(const Graph& graph, const Node& node,
                         std::span<const std::byte> packed) = nullptr;

  /// Computes the node. Never allocates. Same promises as the reference kernel.
  Status (*run)(KernelContext& context);

  /// As OpDef::scratch_bytes; null: none.
  size_t (*scratch_bytes)(const Node& node, std::span<const TensorView> inputs,
                          std::span<const TensorView> outputs) = nullptr;
};

/// A place to compute: its tactics and whether it can be used here.
struct Backend {
  std::string_view name;  // "reference", "cpu"
  /// OK, or kUnavailable with what is missing and how to get it.
  Status (*available)();
  /// What of this machine the tactics depend on, for example "avx512"; empty if nothing.
  std::string (*fingerprint)();
  /// Candidates for an operator on this machine, best guess first.
  std::vector<const Tactic*> (*candidates)(std::string_view op);
};

}  // namespace verdict
