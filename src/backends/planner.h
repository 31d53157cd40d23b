#pragma once

#include <functional>
#include <memory>

#include "backends/backend.h"

namespace verdict {

struct PlannedGraph {
  Plan plan;
  /// The packed section: all steps' weights, each 64-byte aligned.
  std::span<const std::byte> packed;
  std::shared_ptr<const void> packed_owner;
};

struct PlannerOptions {
  /// Use only this backend (and the reference backend for what it declines); empty: all.
  std::string backend;
  /// Chooses among the candidates that accept a node (two or more), best guess first; empty: the
  /// first.
  std::function<Result<size_t>(const Node& node, std::span<const Tactic* const> candidates)> choose;
  /// Called with one line per candidate that declined and per choice made; may be empty.
  std::function<void(const std::string&)> log;
};

/// Chooses for every node among the candidates that accept it, packs its weights and lays out
/// memory for every profile. Errors: as PlanLayout; kUnavailable if the backend asked for cannot be
/// used here.
Result<PlannedGraph> PlanGraph(const Graph& graph, std::span<const Profile> profiles,
                               const PlannerOptions& options);

}  // namespace verdict
