#pragma once

#include <span>
#include <string>
#include <string_view>

#include "release/rollout/policy.h"

namespace verdict {

/// What a check found. `why` is "3.1 % of the canary's answers are errors, 0.2 % of the
/// champion's".
struct RolloutFinding {
  bool is_worse = false;
  std::string why;
};

/// One way for a canary to be worse.
struct RolloutCheck {
  std::string_view name;
  /// log_bar: log(1/alpha) of this check's part of alpha.
  RolloutFinding (*find)(const RolloutPolicy& policy, const RolloutSnapshot& snapshot,
                         double log_bar);
};

/// All checks; the first that finds something gives the reason.
std::span<const RolloutCheck> RolloutChecks();

}  // namespace verdict
