#include <algorithm>

#include "backends/cpu/recurrent.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kGates = 4;

/// Scratch: gates of all steps [T * B, 4H], then h and c [B, H].
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& x = inputs[0].shape;
  return Recurrent::VectorBytes(x[0] * kGates + 2, x[1], inputs[2].shape[2]);
}

void CopyState(const KernelContext& context, size_t input, int64_t offset, int64_t count,
               float* to) {
  if (context.has_input(input)) {
    std::copy_n(context.in<float>(input).data() + offset, count, to);
  } else {
    std::fill_n(to, count, 0.0F);
  }
}

Status Run(KernelContext& context) {
  const Shape& x = context.inputs[0].shape;
  const int64_t steps = x[0], batch = x[1];
  const Recurrent layer(context.node, kGates, context.inputs[1].shape, context.inputs[2].shape);
  const int64_t hidden = layer.hidden();
  const int64_t state = batch * hidden;
  const std::span<float> scratch =
      context.Scratch<float>(static_cast<size_t>((steps * kGates + 2) * state));
  float* gates = scratch.data();
  float* h = gates + steps * batch * layer.gate_columns();
  float* cell = h + state;
  for (int64_t direction = 0; direction < layer.directions(); ++direction) {
    const auto weights = layer.At(context.packed.data(), direction);
    CopyState(context, 5, direction * state, state, h);
    CopyState(context, 6, direction * state, state, cell);
    layer.ProjectInput(weights, context.in<float>(0).data(), steps * batch, gates);
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t step = layer.IsReverse(direction) ? steps - 1 - i : i;
      float* step_gates = gates + step * batch * layer.gate_columns();
      layer.ProjectState(weights, h, batch, /*accumulate=*/true, step_gates);
      for (int64_t row = 0; row < batch; ++row) {
        LstmCell(step_gates + row * layer.gate_columns(), hidden, cell + row * hidden,
                 h + row * hidden);
      }
      if (context.has_output(0)) {
        std::copy_n(h, state,
                    context.out<float>(0).data() + (step * layer.directions() + direction) * state);
      }
    }
    if (context.has_output(1)) {
      std::copy_n(h, state, context.out<float>(1).data() + direction * state);
    }
    if (context.has_output(2)) {
      std::copy_n(cell, state, context.out<float>(2).data() + direction * state);
    }
  }
  return OkStatus();
}

}  // namespace

const Tactic kLstm = {
    .id = "cpu/lstm",
    .op = "LSTM",
    .accepts = [](const Graph& graph,
                  const Node& node) { return Recurrent::Accepts(graph, node, kGates); },
    .pack = [](const Graph& graph,
               const Node& node) { return Recurrent::PackWeights(graph, node, kGates); },
    .packed_bytes = [](const Graph& graph,
                       const Node& node) { return Recurrent::PackedBytes(graph, node, kGates); },
    .run = Run,
    .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
