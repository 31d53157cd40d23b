#pragma once

#include "backends/backend.h"

namespace verdict::cpu {

// The backend's tactics, one operator a file; cpu_backend.cc lists them. Ids carry no instruction
// set: the plan's target does, and a plan for another target is made anew.
extern const Tactic kAttention;
extern const Tactic kBFloat16Gru;
extern const Tactic kBFloat16Lstm;
extern const Tactic kFloat16Gru;
extern const Tactic kFloat16Lstm;
extern const Tactic kFusedGemm;
extern const Tactic kGru;
extern const Tactic kHalfGemm;
extern const Tactic kInt8Gru;
extern const Tactic kInt8Lstm;
extern const Tactic kLayerNormalization;
extern const Tactic kLstm;
extern const Tactic kMatMul;
extern const Tactic kQuantizedGemm;
extern const Tactic kSoftmax;
extern const Tactic kTreeEnsemble;

}  // namespace verdict::cpu
