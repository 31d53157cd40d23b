#pragma once

#include "backends/backend.h"

namespace verdict::cpu {

// The backend's tactics, one operator a file; cpu_backend.cc lists them. Ids carry no instruction
// set: the plan's target does, and a plan for another target is made anew.
extern const Tactic kFusedGemm;
extern const Tactic kGru;
extern const Tactic kLstm;
extern const Tactic kQuantizedGemm;
extern const Tactic kTreeEnsemble;

}  // namespace verdict::cpu
