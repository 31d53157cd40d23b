#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/activation_functions.h"

namespace verdict::cpu {

/// Layout of packed weights [K, N]: panels of up to four vectors of columns, each panel K rows of
/// its width, one after another; the last panel's width is rounded up to a vector, its missing
/// columns zero. A matrix of one column is stored as K contiguous floats.
///
/// Floats that a packed matrix takes on this machine.
size_t PackedFloats(int64_t k, int64_t n);

/// n rounded up to whole vectors: how many floats of bias a kernel may read.
int64_t PaddedColumns(int64_t n);

/// Packs b, whose element (p, j) is b[p * row_stride + j * column_stride].
void Pack(const float* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
          float* packed);

/// c = act(a * b + start), with a [m, k], packed b [k, n], c [m, n]; rows lda and ldc floats apart.
/// Each element is summed in the order of k, in blocks, whatever m is: a row's bits do not depend
/// on its batch. (One column: vector-wide partial sums over k, combined in a fixed order, likewise
/// independent of m.)
struct GemmArgs {
  int64_t m = 0, k = 0, n = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  const float* packed = nullptr;
  /// What a sum starts from: `bias` [PaddedColumns(n)], or c's old contents if `accumulate`, else
  /// 0.
  const float* bias = nullptr;
  bool accumulate = false;
  float* c = nullptr;
  int64_t ldc = 0;
  Activation activation;
};
void Gemm(const GemmArgs& args);

/// Applies the activation in place.
void Activate(const Activation& activation, std::span<float> values);

/// One LSTM step, elementwise. gates [4 * hidden] in ONNX's order i, o, f, c, before activation;
/// cell [hidden] is updated; h [hidden] is written. h may not overlap the others.
void LstmCell(const float* gates, int64_t hidden, float* cell, float* h);

/// One GRU step with linear_before_reset. x_gates [3 * hidden] (z, r, h; bias of W included),
/// h_gates [3 * hidden] (bias of R included); h_old [hidden], h_new [hidden] may be the same.
void GruCell(const float* x_gates, const float* h_gates, int64_t hidden, const float* h_old,
             float* h_new);

}  // namespace verdict::cpu
