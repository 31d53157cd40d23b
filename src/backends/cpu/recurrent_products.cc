#include "backends/cpu/recurrent_products.h"

#include <algorithm>

#include "backends/cpu/gemm.h"
#include "backends/cpu/int8_gemm.h"
#include "backends/cpu/scratch_bytes.h"
#include "ops/quantized_gemm.h"

namespace verdict::cpu {
namespace {

/// The packed section: the padded columns' offsets, scales and zeros (the bias of what is
/// accumulated), then the weights.
struct Int8Packed {
  int64_t k, n;

  size_t columns() const { return static_cast<size_t>(Int8PaddedColumns(n)); }
  const int32_t* offsets(const std::byte* at) const { return reinterpret_cast<const int32_t*>(at); }
  const float* scales(const std::byte* at) const {
    return reinterpret_cast<const float*>(offsets(at) + columns());
  }
  const float* zeros(const std::byte* at) const { return scales(at) + columns(); }
  const int8_t* weights(const std::byte* at) const {
    return reinterpret_cast<const int8_t*>(zeros(at) + columns());
  }
};

}  // namespace

int64_t FloatProduct::Padded(int64_t n) { return PaddedColumns(n); }

size_t FloatProduct::Bytes(int64_t k, int64_t n) { return PackedFloats(k, n) * sizeof(float); }

void FloatProduct::Pack(const RecurrentMatrix& matrix, std::byte* to) {
  const Shape& shape = matrix.weights->shape;
  const float* from = matrix.weights->view().as<const float>().data();
  cpu::Pack(from + matrix.direction * shape[1] * shape[2], 1, shape[2], shape[2], shape[1],
            reinterpret_cast<float*>(to));
}

void FloatProduct::Run(const RecurrentProductArgs& args) {
  Gemm({.m = args.rows,
        .k = args.k,
        .n = args.n,
        .a = args.x,
        .lda = args.k,
        .packed = reinterpret_cast<const float*>(args.packed),
        .bias = args.bias,
        .accumulate = args.accumulate,
        .c = args.c,
        .ldc = args.n});
}

int64_t Int8Product::Padded(int64_t n) { return Int8PaddedColumns(n); }

size_t Int8Product::Bytes(int64_t k, int64_t n) {
  return static_cast<size_t>(Int8PaddedColumns(n)) * (sizeof(int32_t) + 2 * sizeof(float)) +
         static_cast<size_t>(Int8PackedBytes(k, n));
}

size_t Int8Product::ScratchBytes(int64_t rows, int64_t k) {
  return ScratchBytesOf(rows, static_cast<size_t>(Int8RowBytes(k)) + sizeof(float));
}

void Int8Product::Pack(const RecurrentMatrix& matrix, std::byte* to) {
  const Shape& shape = matrix.weights->shape;
  const Int8Packed packed{.k = shape[2], .n = shape[1]};
  const int8_t* from = matrix.weights->view().as<const int8_t>().data();
  PackInt8(from + matrix.direction * shape[1] * shape[2], 1, shape[2], shape[2], shape[1],
           static_cast<int32_t>(kSignedZeroPoint), const_cast<int8_t*>(packed.weights(to)),
           const_cast<int32_t*>(packed.offsets(to)));
  std::ranges::copy(matrix.scales->view().as<const float>(), const_cast<float*>(packed.scales(to)));
  std::fill_n(const_cast<float*>(packed.zeros(to)), packed.columns(), 0.0F);
}

void Int8Product::Run(const RecurrentProductArgs& args) {
  const Int8Packed packed{.k = args.k, .n = args.n};
  auto* const scales = reinterpret_cast<float*>(args.scratch);
  auto* const rows = reinterpret_cast<uint8_t*>(scales + args.rows);
  QuantizeRows(args.x, args.rows, args.k, /*scale=*/0, static_cast<int32_t>(kSignedZeroPoint), rows,
               scales);
  Int8Gemm({.m = args.rows,
            .k = args.k,
            .n = args.n,
            .a = rows,
            .a_scales = scales,
            .packed = packed.weights(args.packed),
            .offsets = packed.offsets(args.packed),
            .b_scales = packed.scales(args.packed),
            .bias = args.accumulate ? packed.zeros(args.packed) : args.bias,
            .accumulate = args.accumulate,
            .c = args.c,
            .ldc = args.n});
}

template <HalfType kType>
size_t HalfProduct<kType>::ScratchBytes(int64_t rows, int64_t k) {
  return ScratchBytesOf(rows, static_cast<size_t>(HalfRowValues(k)) * sizeof(uint16_t));
}

template <HalfType kType>
void HalfProduct<kType>::Pack(const RecurrentMatrix& matrix, std::byte* to) {
  const Shape& shape = matrix.weights->shape;
  const auto* from = static_cast<const uint16_t*>(matrix.weights->data);
  PackHalf(from + matrix.direction * shape[1] * shape[2], 1, shape[2], shape[2], shape[1],
           reinterpret_cast<uint16_t*>(to));
}

template <HalfType kType>
void HalfProduct<kType>::Run(const RecurrentProductArgs& args) {
  auto* const rows = reinterpret_cast<uint16_t*>(args.scratch);
  RoundRows(kType, args.x, args.rows, args.k, rows);
  HalfGemm({.type = kType,
            .m = args.rows,
            .k = args.k,
            .n = args.n,
            .a = rows,
            .packed = reinterpret_cast<const uint16_t*>(args.packed),
            .bias = args.accumulate ? nullptr : args.bias,
            .accumulate = args.accumulate,
            .c = args.c,
            .ldc = args.n});
}

template struct HalfProduct<HalfType::kBFloat16>;
template struct HalfProduct<HalfType::kFloat16>;

}  // namespace verdict::cpu
