#pragma once

#include <optional>
#include <string_view>

namespace verdict::cpu {

/// Instruction sets that the CPU backend has kernels for, each including those before it. Float32
/// kernels know the first three; VNNI is for products of int8, BF16 for those of bfloat16, AMX for
/// both.
enum class Isa { kBaseline, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

/// The best level of this processor, or a lower one if VERDICT_CPU_ISA=baseline|avx2|avx512|
/// avx512_vnni|avx512_bf16|amx asks for it; any other value is said to be ignored, on stderr.
/// Decided at the first call; every kernel of this backend is of this level. Threads: any.
Isa CurrentIsa();

/// The best level of this processor, whatever was asked for. Threads: any.
Isa HardwareIsa();

std::string_view IsaName(Isa isa);
/// The level of that name, or nothing.
std::optional<Isa> ParseIsa(std::string_view name);

}  // namespace verdict::cpu
