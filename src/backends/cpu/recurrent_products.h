#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/half_gemm.h"
#include "ir/graph.h"

namespace verdict::cpu {

/// What a recurrent layer multiplies with: one direction of W or R, as the node has them.
struct RecurrentMatrix {
  const Constant* weights;  // [D, N, K]
  const Constant* scales;   // [N] of int8, else null
  int64_t direction;
};

/// Rows of float32 [rows, k] times a packed matrix [k, n], by the type of its weights. All have the
/// same functions:
///
/// Takes: a node of this type of weights.
/// Padded(n): floats of a bias [n] that Run reads.
/// Bytes(k, n): of the packed matrix, a multiple of 64 where `n` is padded.
/// ScratchBytes(rows, k): what Run needs beside; what no machine has where that overflows.
/// Run: c = x * matrix + bias, or c + x * matrix where it accumulates (then without the bias).
struct RecurrentProductArgs {
  int64_t rows, k, n;
  const float* x;
  const std::byte* packed;
  const float* bias;
  bool accumulate;
  float* c;
  std::byte* scratch;
};

struct FloatProduct {
  static bool Takes(DataType type) { return type == DataType::kFloat32; }
  static int64_t Padded(int64_t n);
  static size_t Bytes(int64_t k, int64_t n);
  static size_t ScratchBytes(int64_t, int64_t) { return 0; }
  static void Pack(const RecurrentMatrix& matrix, std::byte* to);
  static void Run(const RecurrentProductArgs& args);
};

/// Rows are rounded to int8 by scales of their own.
struct Int8Product {
  static bool Takes(DataType type) { return type == DataType::kInt8; }
  static int64_t Padded(int64_t n);
  static size_t Bytes(int64_t k, int64_t n);
  static size_t ScratchBytes(int64_t rows, int64_t k);
  static void Pack(const RecurrentMatrix& matrix, std::byte* to);
  static void Run(const RecurrentProductArgs& args);
};

/// Rows are rounded to the weights' type.
template <HalfType kType>
struct HalfProduct {
  static bool Takes(DataType type) {
    return type == (kType == HalfType::kFloat16 ? DataType::kFloat16 : DataType::kBFloat16);
  }
  static int64_t Padded(int64_t n) { return HalfPaddedColumns(n); }
  static size_t Bytes(int64_t k, int64_t n) {
    return static_cast<size_t>(HalfPackedValues(k, n)) * sizeof(uint16_t);
  }
  static size_t ScratchBytes(int64_t rows, int64_t k);
  static void Pack(const RecurrentMatrix& matrix, std::byte* to);
  static void Run(const RecurrentProductArgs& args);
};
using BFloat16Product = HalfProduct<HalfType::kBFloat16>;
using Float16Product = HalfProduct<HalfType::kFloat16>;

}  // namespace verdict::cpu
