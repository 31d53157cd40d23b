#include "release/rollout/policy.h"

#include <algorithm>
#include <cmath>

#include "release/rollout/checks.h"

namespace verdict {
namespace {

std::string Whole(double value) { return std::to_string(std::llround(value)); }

}  // namespace

Status CheckPolicy(const RolloutPolicy& policy) {
  struct Field {
    const char* name;
    double value, low, high;
    bool low_is_allowed;
  };
  const Field fields[] = {
      {"alpha", policy.alpha, 0, 0.5, false},
      {"min_seconds", policy.min_seconds, 0, 1e9, true},
      {"max_seconds", policy.max_seconds, policy.min_seconds, 1e9, false},
      {"error_tolerance", policy.error_tolerance, 0, 0.999, true},
      {"timeout_tolerance", policy.timeout_tolerance, 0, 0.999, true},
      {"not_a_number_tolerance", policy.not_a_number_tolerance, 0, 0.999, true},
      {"decision_tolerance", policy.decision_tolerance, 0, 0.999, true},
      {"slow_tolerance", policy.slow_tolerance, 0, 0.999, true},
      {"latency_quantile", policy.latency_quantile, 0, 0.9999, false},
      {"latency_factor", policy.latency_factor, 1, 1000, true},
      {"psi_limit", policy.psi_limit, 0, 100, false},
  };
  for (const Field& field : fields) {
    const bool is_above = field.low_is_allowed ? field.value >= field.low : field.value > field.low;
    if (is_above && field.value <= field.high) continue;
    return InvalidArgument("rollout policy: " + std::string(field.name) + " is " +
                           std::to_string(field.value) + "; set it " +
                           (field.low_is_allowed ? "from " : "above ") + std::to_string(field.low) +
                           " to at most " + std::to_string(field.high));
  }
  return OkStatus();
}

RolloutDecision Decide(const RolloutPolicy& policy, const RolloutSnapshot& snapshot) {
  const uint64_t requests = snapshot.canary.requests;
  // A champion that has seen little is no measure either.
  const uint64_t fewer = std::min(requests, snapshot.champion.requests);
  const char* of = requests <= snapshot.champion.requests ? "canary" : "champion";
  const std::string after = ", after " + std::to_string(requests) + " requests";
  if (requests >= policy.min_requests_to_roll_back) {
    const auto checks = RolloutChecks();
    const double log_bar = std::log(static_cast<double>(checks.size()) / policy.alpha);
    for (const RolloutCheck& check : checks) {
      const RolloutFinding finding = check.find(policy, snapshot, log_bar);
      if (!finding.is_worse) continue;
      return {RolloutAction::kRollBack, check.name, "rolled back: " + finding.why + after};
    }
  }
  if (fewer < policy.min_requests && snapshot.seconds >= policy.max_seconds) {
    return {RolloutAction::kRollBack, "max_seconds",
            "rolled back: the " + std::string(of) + " had " + std::to_string(fewer) +
                " requests in " + Whole(snapshot.seconds) + " s, and needs " +
                std::to_string(policy.min_requests) +
                "; change the percentage or raise max_seconds"};
  }
  if (fewer < policy.min_requests) {
    return {RolloutAction::kWait, "min_requests",
            "waiting: the " + std::string(of) + " had " + std::to_string(fewer) + " of " +
                std::to_string(policy.min_requests) + " requests"};
  }
  if (snapshot.seconds < policy.min_seconds) {
    return {RolloutAction::kWait, "min_seconds",
            "waiting: " + Whole(snapshot.seconds) + " of " + Whole(policy.min_seconds) +
                " s have passed"};
  }
  return {RolloutAction::kPromote, "healthy",
          "promoted: the canary is no worse than the champion" + after};
}

}  // namespace verdict
