#pragma once

#include <vector>

#include "engine/engine_file.h"

namespace verdict {

/// How long one run of each takes, on the same inputs.
struct SpeedComparison {
  Shape first_input;  // its shape, to tell the batches apart
  double baseline_us = 0;
  double candidate_us = 0;
};

/// Times two engines on made-up inputs of the profile's min and opt shapes, in turns, so that both
/// meet the same noise; each time is the least of many short rounds. A shape is left out where the
/// model refuses what is made up. Errors: as Engine::FromContents and Session::Run. Cost: about 100
/// ms a shape.
Result<std::vector<SpeedComparison>> CompareSpeed(const EngineContents& baseline,
                                                  const EngineContents& candidate);

}  // namespace verdict
