#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "release/rollout/snapshot.h"

namespace verdict {

/// When a canary is rolled back and when it is promoted. Tolerances are of the difference of two
/// shares: what the canary may be worse by.
struct RolloutPolicy {
  /// The chance that a canary within all tolerances is ever rolled back by a check, however often
  /// one looks. Shared equally over the checks (Bonferroni), each of which keeps its part.
  double alpha = 0.01;
  uint64_t min_requests_to_roll_back = 100;  // of the canary
  uint64_t min_requests = 5'000;             // of each side, before the canary is promoted
  double min_seconds = 600;                  // before it is promoted
  double max_seconds = 86'400;               // if by then it may not be promoted, it is rolled back
  double error_tolerance = 0.001;
  double timeout_tolerance = 0.001;
  double not_a_number_tolerance = 0;
  double decision_tolerance = 0.01;  // either way
  /// Each quantile of the canary's latency from `latency_quantile` up may be `latency_factor` times
  /// the champion's, the factor rounded up to the bins of LatencyBins; slow_tolerance more of its
  /// requests may be above.
  double latency_quantile = 0.5;
  double latency_factor = 1.25;
  double slow_tolerance = 0.005;
  double psi_limit = 0.25;
};

/// Errors: kInvalidArgument naming the field and what it may be.
Status CheckPolicy(const RolloutPolicy& policy);

enum class RolloutAction { kWait, kPromote, kRollBack };

struct RolloutDecision {
  RolloutAction action = RolloutAction::kWait;
  /// For machines: the name of the check that failed (see checks.h), "max_seconds",
  /// "min_requests", "min_seconds" or "healthy".
  std::string_view reason;
  std::string sentence;  // for people
};

/// policy: CheckPolicy finds nothing.
/// Threads: pure. Cost: about 50 us.
RolloutDecision Decide(const RolloutPolicy& policy, const RolloutSnapshot& snapshot);

}  // namespace verdict
