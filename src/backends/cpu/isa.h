#pragma once

#include <string_view>

namespace verdict {

/// Instruction sets that the CPU backend has kernels for, each including those before it.
enum class CpuIsa { kBaseline, kAvx2, kAvx512 };

/// The best level of this processor, or a lower one if VERDICT_CPU_ISA asks for it (read once).
CpuIsa DetectedIsa();

std::string_view IsaName(CpuIsa isa);

}  // namespace verdict
