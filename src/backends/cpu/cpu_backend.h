#pragma once

#include "backends/backend.h"

namespace verdict {

/// Fast kernels for x86-64, chosen at run time by what the processor has.
/// VERDICT_CPU_ISA=baseline|avx2|avx512 in the environment forces a lower level.
extern const Backend kCpuBackend;

}  // namespace verdict
