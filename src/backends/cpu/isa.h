#pragma once

#include <string_view>

namespace verdict::cpu {

/// Instruction sets that the CPU backend has kernels for, each including those before it.
enum class Isa { kBaseline, kAvx2, kAvx512 };

/// The best level of this processor, or a lower one if VERDICT_CPU_ISA=baseline|avx2|avx512 asks
/// for it. Decided at the first call; every kernel of this backend is of this level.
Isa CurrentIsa();

std::string_view IsaName(Isa isa);

}  // namespace verdict::cpu
