#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "plan/plan.h"
#include "tune/timing_cache.h"

namespace verdict {

/// Chooses among the tactics that accept a node by measuring them on this machine, on the min and
/// opt shapes of every profile, with the node's own constants. What the cache knows is not measured
/// again. Threads: one at a time. Cost: about 5 ms a tactic and shape, or one run where
/// that takes longer.
class Tuner {
 public:
  struct Options {
    TimingCache* cache = nullptr;  // not null; read and added to
    /// Fail where the cache lacks a figure, so that a build can be repeated exactly.
    bool error_on_cache_miss = false;
    /// Called with one line a node that had a choice; may be empty.
    std::function<void(const std::string&)> log;
  };

  /// Errors: as ResolveShapes at the profiles' shapes.
  static Result<Tuner> Create(const Graph& graph, std::span<const Profile> profiles,
                              const Options& options);

  /// The index in `candidates` (at least one) of the one that takes the least time, summed over the
  /// shapes; of equals the first. Errors: a kernel's; kFailedPrecondition, naming the node, on a
  /// cache miss that is not allowed.
  Result<size_t> Choose(const Node& node, std::span<const Tactic* const> candidates);

 private:
  Tuner(const Graph& graph, const Options& options) : graph_(graph), options_(options) {}
  /// packed: the tactic's weights, packed here where they are not yet.
  Result<double> Time(const Tactic& tactic, const Node& node, std::span<const TensorView> values,
                      Constant& packed);

  const Graph& graph_;
  Options options_;
  std::vector<std::vector<TensorView>>
      shapes_;  // per measured shape: each value's type and extents
};

}  // namespace verdict
