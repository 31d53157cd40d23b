#pragma once

#include "backends/cpu/int8_gemm.h"

namespace verdict::cpu {

/// The functions of one instruction set. Each lies in a file that is compiled for it, which must
/// include nothing that other files may share code with: the linker keeps one copy of an inline
/// function, and might keep the one that does not run everywhere.
struct Int8Kernels {
  void (*quantize_row)(const float* x, int64_t k, float scale, int32_t zero_point, uint8_t* a);
  /// Largest |x|; NaN where x has NaN.
  float (*largest)(const float* x, int64_t k);
  void (*gemm)(const Int8GemmArgs& args);
};

extern const Int8Kernels kInt8Baseline;
extern const Int8Kernels kInt8Avx2;
extern const Int8Kernels kInt8Vnni;
/// gemm alone differs from VNNI's, for more than a few rows.
extern const Int8Kernels kInt8Amx;

}  // namespace verdict::cpu
