#include "release/rollout/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <random>

#include "release/rollout/checks.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using enum RolloutAction;

/// `requests` answers in 1 ms, a twentieth of them over the threshold, scores in two bins.
RolloutArm Healthy(uint64_t requests) {
  RolloutArm arm;
  arm.requests = requests;
  arm.over_threshold = requests / 20;
  arm.latencies[LatencyBins::Of(1'000)] = requests - requests / 200;
  arm.latencies[LatencyBins::Of(2'000)] = requests / 200;
  arm.scores[ScoreBins::Of(0.01)] = requests - requests / 20;
  arm.scores[ScoreBins::Of(0.9)] = requests / 20;
  return arm;
}

RolloutSnapshot Snapshot(uint64_t canary_requests, double seconds) {
  return {Healthy(canary_requests * 9), Healthy(canary_requests), seconds};
}

template <typename Change>
RolloutSnapshot Changed(RolloutSnapshot snapshot, const Change& change) {
  change(snapshot);
  return snapshot;
}

TEST(RolloutPolicy, DecidesStatesSo) {
  struct Case {
    const char* name;
    RolloutSnapshot snapshot;
    RolloutAction action;
    const char* reason;
  };
  const Case cases[] = {
      {"nothing seen", {}, kWait, "min_requests"},
      {"few requests", Snapshot(4'999, 700), kWait, "min_requests"},
      {"little time", Snapshot(5'000, 599), kWait, "min_seconds"},
      {"enough", Snapshot(5'000, 600), kPromote, "healthy"},
      {"enough, late", Snapshot(5'000, 100'000), kPromote, "healthy"},
      {"few for too long", Snapshot(4'999, 86'400), kRollBack, "max_seconds"},
      {"no champion to compare with", {{}, Healthy(50'000), 700}, kWait, "min_requests"},
      {"errors", Changed(Snapshot(800, 60), [](auto& s) { s.canary.errors = 25; }), kRollBack,
       "errors"},
      {"all errors, too few to say",
       Changed(Snapshot(99, 60), [](auto& s) { s.canary.errors = 99; }), kWait, "min_requests"},
      {"all errors, enough to say",
       Changed(Snapshot(100, 60), [](auto& s) { s.canary.errors = 100; }), kRollBack, "errors"},
      {"the champion errs as much",
       Changed(Snapshot(5'000, 600),
               [](auto& s) {
                 s.canary.errors = 150;
                 s.champion.errors = 1'350;
               }),
       kPromote, "healthy"},
      {"the champion errs, the canary does not",
       Changed(Snapshot(5'000, 600), [](auto& s) { s.champion.errors = 9'000; }), kPromote,
       "healthy"},
      {"timeouts", Changed(Snapshot(800, 60), [](auto& s) { s.canary.timeouts = 25; }), kRollBack,
       "timeouts"},
      {"not a number", Changed(Snapshot(800, 60), [](auto& s) { s.canary.not_a_number = 25; }),
       kRollBack, "not_a_number"},
      {"one that is not a number",
       Changed(Snapshot(5'000, 600), [](auto& s) { s.canary.not_a_number = 1; }), kPromote,
       "healthy"},
      {"slower by half",
       Changed(Snapshot(2'000, 60),
               [](auto& s) {
                 s.canary.latencies = {};
                 s.canary.latencies[LatencyBins::Of(1'600)] = 2'000;
               }),
       kRollBack, "latency"},
      {"faster",
       Changed(Snapshot(5'000, 600),
               [](auto& s) {
                 s.canary.latencies = {};
                 s.canary.latencies[0] = 5'000;
               }),
       kPromote, "healthy"},
      {"blocks twice as many",
       Changed(Snapshot(4'000, 60), [](auto& s) { s.canary.over_threshold = 400; }), kRollBack,
       "decision_rate"},
      {"blocks none", Changed(Snapshot(4'000, 60), [](auto& s) { s.canary.over_threshold = 0; }),
       kRollBack, "decision_rate"},
      {"scores shifted",
       Changed(Snapshot(1'000, 60),
               [](auto& s) {
                 s.canary.scores = {};
                 s.canary.scores[ScoreBins::Of(0.05)] = 1'000;
               }),
       kRollBack, "score_shift"},
  };
  for (const Case& c : cases) {
    const RolloutDecision decision = Decide({}, c.snapshot);
    EXPECT_EQ(decision.action, c.action) << c.name << ": " << decision.sentence;
    EXPECT_EQ(decision.reason, c.reason) << c.name << ": " << decision.sentence;
  }
}

TEST(RolloutPolicy, SaysWhyToPeople) {
  RolloutSnapshot snapshot = Snapshot(812, 60);
  snapshot.canary.errors = 25;
  snapshot.champion.errors = 15;
  EXPECT_EQ(Decide({}, snapshot).sentence,
            "rolled back: 3.1 % of the canary's answers are errors, 0.2 % of the champion's, after "
            "812 requests");
}

TEST(RolloutPolicy, RefusesWhatMakesNoSense) {
  EXPECT_TRUE(CheckPolicy({}).ok());
  EXPECT_THAT(CheckPolicy({.alpha = 0}).message(), HasSubstr("alpha"));
  EXPECT_THAT(CheckPolicy({.min_seconds = 10, .max_seconds = 5}).message(),
              HasSubstr("max_seconds"));
  EXPECT_THAT(CheckPolicy({.error_tolerance = -0.1}).message(), HasSubstr("error_tolerance"));
  EXPECT_THAT(CheckPolicy({.latency_factor = std::nan("")}).message(), HasSubstr("latency_factor"));
}

/// A model's behaviour, and how a defect changes it.
struct Behaviour {
  const char* name;
  double slower = 1, error = 0.002, timeout = 0, not_a_number = 0, log_odds_shift = 0;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {}

  void Request(const Behaviour& behaviour, RolloutArm& arm) {
    ++arm.requests;
    const double latency_us = 800 * std::exp(0.4 * Normal()) * behaviour.slower;
    ++arm.latencies.at(LatencyBins::Of(latency_us));
    if (Uniform() < behaviour.error) {
      ++arm.errors;
    } else if (Uniform() < behaviour.timeout) {
      ++arm.timeouts;
    } else if (Uniform() < behaviour.not_a_number) {
      ++arm.not_a_number;
    } else {
      const double score = 1 / (1 + std::exp(3.5 - 1.5 * Normal() - behaviour.log_odds_shift));
      ++arm.scores.at(ScoreBins::Of(score));
      arm.over_threshold += score > 0.5 ? 1 : 0;
    }
  }

  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

 private:
  double Normal() {  // Box and Muller
    return std::sqrt(-2 * std::log(1 - Uniform())) * std::cos(6.283185307179586 * Uniform());
  }
  std::mt19937_64 random_;
};

/// A canary of a tenth of the requests, 100 a second, looked at every 5 s until it is decided.
RolloutDecision Follow(const Behaviour& canary, uint64_t seed, uint64_t* requests) {
  Simulation simulation(seed);
  RolloutSnapshot snapshot;
  while (true) {
    for (int i = 0; i < 500; ++i) {
      const bool is_canary = simulation.Uniform() < 0.1;
      simulation.Request(is_canary ? canary : Behaviour{"champion"},
                         is_canary ? snapshot.canary : snapshot.champion);
    }
    snapshot.seconds += 5;
    RolloutDecision decision = Decide({}, snapshot);
    *requests = snapshot.canary.requests;
    if (decision.action != kWait) return decision;
  }
}

TEST(RolloutPolicy, RollsBackEveryPlantedDefectAndNoHealthyCanary) {
  constexpr int kRuns = 50;
  struct Case {
    Behaviour canary;
    RolloutAction action;
  };
  const Case cases[] = {
      {{.name = "healthy"}, kPromote},
      {{.name = "slower by half", .slower = 1.5}, kRollBack},
      {{.name = "errors", .error = 0.03}, kRollBack},
      {{.name = "timeouts", .timeout = 0.02}, kRollBack},
      {{.name = "not a number", .not_a_number = 0.01}, kRollBack},
      {{.name = "scores shifted up", .log_odds_shift = 1}, kRollBack},
      {{.name = "scores shifted down", .log_odds_shift = -1}, kRollBack},
  };
  for (const Case& c : cases) {
    int as_wished = 0;
    uint64_t sum = 0;
    uint64_t most = 0;
    for (uint64_t seed = 1; seed <= kRuns; ++seed) {
      uint64_t requests = 0;
      const RolloutDecision decision = Follow(c.canary, seed, &requests);
      as_wished += decision.action == c.action ? 1 : 0;
      EXPECT_EQ(decision.action, c.action)
          << c.canary.name << ", seed " << seed << ": " << decision.sentence;
      sum += requests;
      most = std::max(most, requests);
    }
    std::cout << c.canary.name << ": " << as_wished << " of " << kRuns
              << " runs as they should be, after " << sum / kRuns
              << " requests of the canary, at most " << most << "\n";
  }
}

}  // namespace
}  // namespace verdict
