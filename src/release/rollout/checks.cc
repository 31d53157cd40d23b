#include "release/rollout/checks.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "release/rollout/psi.h"
#include "release/rollout/sequential_evidence.h"

namespace verdict {
namespace {

std::string Percent(const Proportion& p) {
  const double share =
      p.trials == 0 ? 0 : static_cast<double>(p.events) / static_cast<double>(p.trials);
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f %%", share < 0.001 && share > 0 ? 3 : 1, 100 * share);
  return text;
}

std::string Fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

uint64_t Less(uint64_t whole, uint64_t part) { return whole > part ? whole - part : 0; }

uint64_t Answers(const RolloutArm& arm) {
  return Less(Less(arm.requests, arm.errors), arm.timeouts);
}

/// what: "of the canary's answers are errors".
RolloutFinding Compare(const Proportion& champion, const Proportion& canary, double tolerance,
                       Worse worse, double log_bar, const char* what) {
  if (LogEvidence(champion, canary, tolerance, worse) < log_bar) return {};
  return {true, Percent(canary) + " of the canary's " + what + ", " + Percent(champion) +
                    " of the champion's"};
}

RolloutFinding Errors(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  return Compare({s.champion.errors, s.champion.requests}, {s.canary.errors, s.canary.requests},
                 policy.error_tolerance, Worse::kHigher, log_bar, "answers are errors");
}

RolloutFinding Timeouts(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  return Compare({s.champion.timeouts, s.champion.requests}, {s.canary.timeouts, s.canary.requests},
                 policy.timeout_tolerance, Worse::kHigher, log_bar, "requests ran out of time");
}

RolloutFinding NotANumber(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  return Compare({s.champion.not_a_number, Answers(s.champion)},
                 {s.canary.not_a_number, Answers(s.canary)}, policy.not_a_number_tolerance,
                 Worse::kHigher, log_bar, "scores are not a number");
}

RolloutFinding DecisionRate(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  const auto rate = [](const RolloutArm& arm) {
    return Proportion{arm.over_threshold, Less(Answers(arm), arm.not_a_number)};
  };
  return Compare(rate(s.champion), rate(s.canary), policy.decision_tolerance, Worse::kEither,
                 log_bar, "scores are over the threshold");
}

RolloutFinding Latency(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  const int factor_bins = static_cast<int>(
      std::ceil(std::log2(policy.latency_factor) * LatencyBins::kPerDoubling - 1e-9));
  const LatencyEvidence found =
      SlowerEvidence(s.champion.latencies, s.canary.latencies, policy.latency_quantile, factor_bins,
                     policy.slow_tolerance);
  if (found.log_evidence < log_bar) return {};
  const auto milliseconds = [](int edge) { return Fixed(LatencyBins::EdgeUs(edge) / 1000, 2); };
  return {true, Percent(found.canary) + " of the canary's requests took longer than " +
                    milliseconds(found.edge + factor_bins) + " ms, " + Percent(found.champion) +
                    " of the champion's longer than " + milliseconds(found.edge) + " ms"};
}

/// The index says that the shift is large, the evidence that it is no accident: the index alone is
/// exceeded by chance if one looks often enough, the evidence alone by shifts of no account.
RolloutFinding ScoreShift(const RolloutPolicy& policy, const RolloutSnapshot& s, double log_bar) {
  const StabilityIndex index = PopulationStability(s.champion.scores, s.canary.scores);
  if (index.corrected() < policy.psi_limit) return {};
  const auto count = [](const RolloutArm& arm) { return Less(Answers(arm), arm.not_a_number); };
  if (!StabilityMeansSomething(index.bins, count(s.champion), count(s.canary), policy.psi_limit)) {
    return {};
  }
  if (DistributionEvidence(s.champion.scores, s.canary.scores) < log_bar) return {};
  return {true, "the scores' stability index (PSI) is " + Fixed(index.corrected(), 2) +
                    ", and may be " + Fixed(policy.psi_limit, 2)};
}

constexpr std::array<RolloutCheck, 6> kChecks{{
    {"errors", Errors},
    {"timeouts", Timeouts},
    {"not_a_number", NotANumber},
    {"latency", Latency},
    {"decision_rate", DecisionRate},
    {"score_shift", ScoreShift},
}};

}  // namespace

std::span<const RolloutCheck> RolloutChecks() { return kChecks; }

}  // namespace verdict
