#pragma once

#include <cstdint>
#include <string_view>

namespace verdict {

/// A share of the keys, in steps of 0.01 %.
constexpr uint32_t kRolloutSteps = 10'000;

/// True if `key`'s requests go to the canary of this rollout. The same key always gets the same
/// side; more steps only add keys; another rollout's id picks other keys.
///
/// steps: 0 (nobody) to kRolloutSteps (everybody); more counts as everybody.
/// Threads: pure. Cost: O(length of id and key).
/// Stable: the same in every build and on every machine, so that servers agree. Not secret: who
/// knows the id can make a key for either side.
/// Source: FNV-1a (Fowler, Noll, Vo; RFC 9923), spread by SplitMix64's finalizer (Steele et al.
/// 2014).
bool GoesToCanary(std::string_view rollout_id, std::string_view key, uint32_t steps);

}  // namespace verdict
