#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "plan/plan.h"
#include "tune/timing_cache.h"

namespace verdict {

/// Chooses among the tactics that accept a node by measuring them on this machine, on the min, opt
/// and max shapes of every profile, with the node's own constants. What the cache knows is not
/// measured again. Threads: one at a time. Cost: about 5 ms a tactic and shape, or one run where
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

  /// The index in `candidates` (at least one) of the fastest: of the least sum over the shapes of
  /// its time as a multiple of the best time there, so that small shapes count as much as large
  /// ones; of equals the first. One that takes over four times the best is not tried at larger
  /// shapes, and shapes of over 1 GiB a tensor are not measured at all. Errors: a kernel's;
  /// kFailedPrecondition, naming the node, on a cache miss that is not allowed.
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
