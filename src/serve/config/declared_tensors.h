#pragma once

#include "base/status.h"
#include "release/repository/model_config.h"
#include "runtime/engine.h"

namespace verdict {

/// OK if what a configuration says of inputs, outputs and states is what the engine says. Tensors
/// may stand in any order, and be left out.
///
/// Errors: kFailedPrecondition with the place in the configuration, what stands there and what the
/// engine has.
/// Threads: pure.
Status CheckDeclaredTensors(const ModelConfig& config, const Engine& engine);

}  // namespace verdict
