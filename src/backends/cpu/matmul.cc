#include "backends/cpu/gemm.h"
#include "backends/cpu/tactics.h"
#include "ops/broadcast.h"
#include "ops/strided.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  if (graph.value(node.inputs[0]).dtype != DataType::kFloat32) {
    return Unimplemented("not of float32");
  }
  for (ValueId id : node.inputs) {
    if (graph.value(id).shape.rank() < 2) return Unimplemented("of a vector");
  }
  return OkStatus();
}

/// The extents before a stack's matrices.
Shape BatchOf(const Shape& shape) {
  return Shape(shape.dims().first(static_cast<size_t>(shape.rank() - 2)));
}

/// One matrix of B, packed.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& b = inputs[1].shape;
  const Dim k = b[b.rank() - 2], n = b[b.rank() - 1];
  // Stacks of no matrices may have extents whose product is no number.
  constexpr Dim kMost = Dim{1} << 28;
  if (std::max(k, n) > kMost) return kMost * kMost;
  return PackedFloats(k, n) * sizeof(float);
}

Status Run(KernelContext& context) {
  const Shape& a = context.inputs[0].shape;
  const Shape& b = context.inputs[1].shape;
  GemmArgs args;
  args.m = a[a.rank() - 2];
  args.k = a[a.rank() - 1];
  args.n = b[b.rank() - 1];
  args.lda = args.k;
  args.ldc = args.n;
  if (args.m == 0 || args.n == 0) return OkStatus();
  float* packed = context.Scratch<float>(PackedFloats(args.k, args.n)).data();
  args.packed = packed;
  args.c = context.out<float>(0).data();
  const float* a_data = context.in<float>(0).data();
  const float* b_data = context.in<float>(1).data();
  const Shape batch = BatchOf(context.outputs[0].shape);
  const StridedWalk<2> walk(
      batch, {BroadcastStrides(BatchOf(a), batch), BroadcastStrides(BatchOf(b), batch)});
  int64_t packed_matrix = -1;
  walk.ForEach([&](const auto& matrices) {
    if (matrices[1] != packed_matrix) {
      packed_matrix = matrices[1];
      Pack(b_data + packed_matrix * args.k * args.n, args.n, 1, args.k, args.n, packed);
    }
    args.a = a_data + matrices[0] * args.m * args.k;
    Gemm(args);
    args.c += args.m * args.n;
  });
  return OkStatus();
}

}  // namespace

const Tactic kMatMul = {.id = "cpu/matmul",
                        .op = "MatMul",
                        .accepts = Accepts,
                        .run = Run,
                        .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
