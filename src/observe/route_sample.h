#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace verdict {

/// A route's counters as they stand at the scrape.
struct RouteSample {
  struct Rung {
    std::string model;
    bool can_answer = false;  // loaded, and its breaker lets requests through
    int breaker = 0;          // 0 closed, 1 half open, 2 open
    uint64_t opened = 0;      // how often it has
    std::vector<std::pair<std::string_view, uint64_t>> outcomes;
  };
  std::string route;
  std::vector<Rung> rungs;  // best first
  bool has_last_resort = false;
  bool last_resort_answers_now = false;
  uint64_t last_resort_answers = 0;
};

}  // namespace verdict
