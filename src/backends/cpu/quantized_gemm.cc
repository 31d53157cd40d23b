#include "ops/quantized_gemm.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "backends/cpu/gemm.h"
#include "backends/cpu/int8_gemm.h"
#include "backends/cpu/scratch_bytes.h"
#include "backends/cpu/tactics.h"
#include "ops/linear.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  for (size_t input = 1; input < node.inputs.size(); ++input) {
    if (node.inputs[input] != kNoValue && graph.constant(node.inputs[input]) == nullptr) {
      return Unimplemented("weights, scales or bias are not constants");
    }
  }
  // Kernels multiply by its reciprocal.
  if (!std::isnormal(graph.constant(node.inputs[2])->view().as<const float>()[0])) {
    return Unimplemented("the scale of the activations is no normal number");
  }
  return OkStatus();
}

/// The packed section: the padded columns' offsets, scales and biases, then the weights.
struct Packed {
  int64_t k, n;

  explicit Packed(const Shape& weights) : k(weights[0]), n(weights[1]) {}
  size_t columns() const { return static_cast<size_t>(Int8PaddedColumns(n)); }
  size_t bytes() const {
    return columns() * (sizeof(int32_t) + 2 * sizeof(float)) +
           static_cast<size_t>(Int8PackedBytes(k, n));
  }
  template <typename Byte>
  auto at(Byte* from) const {
    const auto* const offsets = reinterpret_cast<const int32_t*>(from);
    const auto* const scales = reinterpret_cast<const float*>(offsets + columns());
    const float* const bias = scales + columns();
    return std::tuple(offsets, scales, bias, reinterpret_cast<const int8_t*>(bias + columns()));
  }
};

size_t PackedBytes(const Graph& graph, const Node& node) {
  return Packed(graph.constant(node.inputs[1])->shape).bytes();
}

int32_t ZeroPoint(const AttributeReader& attributes) {
  return static_cast<int32_t>(attributes.Int("zero_point", kSignedZeroPoint));
}

Result<std::vector<std::byte>> PackWeights(const Graph& graph, const Node& node) {
  const Constant* weights = graph.constant(node.inputs[1]);
  const Packed packed(weights->shape);
  std::vector<std::byte> bytes(packed.bytes());
  const auto [offsets, scales, bias, to] = packed.at(bytes.data());
  PackInt8(weights->view().as<const int8_t>().data(), packed.n, 1, packed.k, packed.n,
           ZeroPoint(AttributeReader(node)), const_cast<int8_t*>(to),
           const_cast<int32_t*>(offsets));
  std::ranges::copy(graph.constant(node.inputs[3])->view().as<const float>(),
                    const_cast<float*>(scales));
  if (node.inputs.size() > 4 && node.inputs[4] != kNoValue) {
    std::ranges::copy(graph.constant(node.inputs[4])->view().as<const float>(),
                      const_cast<float*>(bias));
  }
  return bytes;
}

/// Scratch: each row's scale, then its quantized values.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& a = inputs[0].shape;
  const int64_t k = a[a.rank() - 1];
  return ScratchBytesOf(LeadingRows(a), static_cast<size_t>(Int8RowBytes(k)) + sizeof(float));
}

Status Run(KernelContext& context) {
  const Packed packed(context.inputs[1].shape);
  if (packed.n == 0) return OkStatus();
  const auto attributes = context.attributes();
  const int64_t m = LeadingRows(context.inputs[0].shape);
  const auto [offsets, scales, bias, weights] = packed.at(context.packed.data());
  const std::span<float> a_scales = context.Scratch<float>(static_cast<size_t>(m));
  const std::span<uint8_t> a = context.Scratch<uint8_t>(
      static_cast<size_t>(m * Int8RowBytes(packed.k)), a_scales.size_bytes());
  QuantizeRows(context.in<float>(0).data(), m, packed.k, context.in<float>(2)[0],
               ZeroPoint(attributes), a.data(), a_scales.data());
  const Activation activation = ActivationOf(attributes);
  const bool relu = activation.kind == ActivationKind::kRelu;
  const std::span<float> c = context.out<float>(0);
  Int8Gemm({.m = m,
            .k = packed.k,
            .n = packed.n,
            .a = a.data(),
            .a_scales = a_scales.data(),
            .packed = weights,
            .offsets = offsets,
            .b_scales = scales,
            .bias = bias,
            .relu = relu,
            .c = c.data(),
            .ldc = packed.n});
  if (!relu) Activate(activation, c);
  return OkStatus();
}

}  // namespace

const Tactic kQuantizedGemm = {.id = "cpu/quantized_gemm",
                               .op = "QuantizedGemm",
                               .accepts = Accepts,
                               .pack = PackWeights,
                               .packed_bytes = PackedBytes,
                               .run = Run,
                               .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
