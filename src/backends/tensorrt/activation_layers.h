#pragma once

#include "backends/tensorrt/network_context.h"
#include "ops/activation_functions.h"

namespace verdict::tensorrt {

/// The activation of FusedGemm and of recurrent layers, as layers; the same tensor for kNone.
Result<ITensor*> ApplyActivation(NetworkContext& context, ITensor* x,
                                 const verdict::Activation& activation);

}  // namespace verdict::tensorrt
