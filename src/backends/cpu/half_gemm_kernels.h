#pragma once

#include "backends/cpu/half_gemm.h"

namespace verdict::cpu {

/// The functions of one instruction set; each lies in a file of its own, as int8_gemm_kernels.h
/// says. Nothing: the level has none of its own.
struct HalfKernels {
  void (*round_bfloat16)(const float* x, int64_t k, uint16_t* a) = nullptr;
  void (*round_float16)(const float* x, int64_t k, uint16_t* a) = nullptr;
  void (*gemm_bfloat16)(const HalfGemmArgs& args) = nullptr;
  void (*gemm_float16)(const HalfGemmArgs& args) = nullptr;
};

extern const HalfKernels kHalfBaseline;
extern const HalfKernels kHalfAvx2;
extern const HalfKernels kHalfAvx512;
extern const HalfKernels kHalfBf16;
extern const HalfKernels kHalfAmx;

}  // namespace verdict::cpu
