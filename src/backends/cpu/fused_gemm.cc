#include <algorithm>
#include <cstring>

#include "backends/cpu/gemm.h"
#include "backends/cpu/tactics.h"
#include "ops/linear.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  const Constant* weights = graph.constant(node.inputs[1]);
  if (weights == nullptr || weights->dtype != DataType::kFloat32) {
    return Unimplemented("weights are not a float32 constant");
  }
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue &&
      graph.constant(node.inputs[2]) == nullptr) {
    return Unimplemented("the bias is not a constant");
  }
  return OkStatus();
}

/// The packed section: bias padded to whole vectors, then the packed matrix.
size_t PackedBytes(const Graph& graph, const Node& node) {
  const Shape& shape = graph.constant(node.inputs[1])->shape;
  return (static_cast<size_t>(PaddedColumns(shape[1])) + PackedFloats(shape[0], shape[1])) *
         sizeof(float);
}

Result<std::vector<std::byte>> PackWeights(const Graph& graph, const Node& node) {
  const Constant* weights = graph.constant(node.inputs[1]);
  const int64_t k = weights->shape[0], n = weights->shape[1];
  std::vector<std::byte> bytes(PackedBytes(graph, node));
  auto* floats = reinterpret_cast<float*>(bytes.data());
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    const auto bias = graph.constant(node.inputs[2])->view().as<const float>();
    std::ranges::copy(bias, floats);
  }
  Pack(weights->view().as<const float>().data(), n, 1, k, n, floats + PaddedColumns(n));
  return bytes;
}

Status Run(KernelContext& context) {
  const TensorView& a = context.inputs[0];
  const Shape& weights = context.inputs[1].shape;
  GemmArgs args;
  args.k = weights[0];
  args.n = weights[1];
  args.m = LeadingRows(a.shape);
  if (args.n == 0) return OkStatus();
  args.a = static_cast<const float*>(a.data);
  args.lda = args.k;
  args.bias = reinterpret_cast<const float*>(context.packed.data());
  args.packed = args.bias + PaddedColumns(args.n);
  args.c = static_cast<float*>(context.outputs[0].data);
  args.ldc = args.n;
  args.activation = ActivationOf(context.attributes());
  Gemm(args);
  return OkStatus();
}

}  // namespace

const Tactic kFusedGemm = {.id = "cpu/fused_gemm",
                           .op = "FusedGemm",
                           .accepts = Accepts,
                           .pack = PackWeights,
                           .packed_bytes = PackedBytes,
                           .run = Run};

}  // namespace verdict::cpu
