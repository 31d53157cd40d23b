#include <algorithm>

#include "backends/cpu/gemm.h"
#include "backends/cpu/half_gemm.h"
#include "backends/cpu/scratch_bytes.h"
#include "backends/cpu/tactics.h"
#include "ops/linear.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  for (size_t input = 1; input < node.inputs.size(); ++input) {
    if (node.inputs[input] != kNoValue && graph.constant(node.inputs[input]) == nullptr) {
      return Unimplemented("weights or bias are not constants");
    }
  }
  return OkStatus();
}

/// The packed section: the padded columns' bias, then the weights.
struct Packed {
  int64_t k, n;

  explicit Packed(const Shape& weights) : k(weights[0]), n(weights[1]) {}
  size_t columns() const { return static_cast<size_t>(HalfPaddedColumns(n)); }
  size_t bytes() const {
    return columns() * sizeof(float) +
           static_cast<size_t>(HalfPackedValues(k, n)) * sizeof(uint16_t);
  }
};

size_t PackedBytes(const Graph& graph, const Node& node) {
  return Packed(graph.constant(node.inputs[1])->shape).bytes();
}

Result<std::vector<std::byte>> PackWeights(const Graph& graph, const Node& node) {
  const Constant* weights = graph.constant(node.inputs[1]);
  const Packed packed(weights->shape);
  std::vector<std::byte> bytes(packed.bytes());
  auto* const bias = reinterpret_cast<float*>(bytes.data());
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    std::ranges::copy(graph.constant(node.inputs[2])->view().as<const float>(), bias);
  }
  PackHalf(static_cast<const uint16_t*>(weights->data), packed.n, 1, packed.k, packed.n,
           reinterpret_cast<uint16_t*>(bias + packed.columns()));
  return bytes;
}

/// Scratch: the rounded rows.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& a = inputs[0].shape;
  const int64_t k = a[a.rank() - 1];
  return ScratchBytesOf(LeadingRows(a), static_cast<size_t>(HalfRowValues(k)) * sizeof(uint16_t));
}

Status Run(KernelContext& context) {
  const TensorView& weights = context.inputs[1];
  const Packed packed(weights.shape);
  if (packed.n == 0) return OkStatus();
  const HalfType type =
      weights.dtype == DataType::kBFloat16 ? HalfType::kBFloat16 : HalfType::kFloat16;
  const int64_t m = LeadingRows(context.inputs[0].shape);
  const auto a = context.Scratch<uint16_t>(static_cast<size_t>(m * HalfRowValues(packed.k)));
  RoundRows(type, context.in<float>(0).data(), m, packed.k, a.data());
  const Activation activation = ActivationOf(context.attributes());
  const bool relu = activation.kind == ActivationKind::kRelu;
  const auto* const bias = reinterpret_cast<const float*>(context.packed.data());
  const std::span<float> c = context.out<float>(0);
  HalfGemm({.type = type,
            .m = m,
            .k = packed.k,
            .n = packed.n,
            .a = a.data(),
            .packed = reinterpret_cast<const uint16_t*>(bias + packed.columns()),
            .bias = bias,
            .relu = relu,
            .c = c.data(),
            .ldc = packed.n});
  if (!relu) Activate(activation, c);
  return OkStatus();
}

}  // namespace

const Tactic kHalfGemm = {.id = "cpu/half_gemm",
                          .op = "HalfGemm",
                          .accepts = Accepts,
                          .pack = PackWeights,
                          .packed_bytes = PackedBytes,
                          .run = Run,
                          .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
