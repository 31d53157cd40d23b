#include <algorithm>

#include "backends/cpu/recurrent.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kGates = 3;

/// Scratch: input gates of all steps [T * B, 3H], state gates [B, 3H], then h [B, H].
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  const Shape& x = inputs[0].shape;
  return Recurrent::VectorBytes((x[0] + 1) * kGates + 1, x[1], inputs[2].shape[2]);
}

Status Run(KernelContext& context) {
  const Shape& x = context.inputs[0].shape;
  const int64_t steps = x[0], batch = x[1];
  const Recurrent layer(context.node, kGates, context.inputs[1].shape, context.inputs[2].shape);
  const int64_t hidden = layer.hidden(), columns = layer.gate_columns();
  const int64_t state = batch * hidden;
  const std::span<float> scratch =
      context.Scratch<float>(static_cast<size_t>(((steps + 1) * kGates + 1) * state));
  float* x_gates = scratch.data();
  float* h_gates = x_gates + steps * batch * columns;
  float* h = h_gates + batch * columns;
  for (int64_t direction = 0; direction < layer.directions(); ++direction) {
    const auto weights = layer.At(context.packed.data(), direction);
    if (context.has_input(5)) {
      std::copy_n(context.in<float>(5).data() + direction * state, state, h);
    } else {
      std::fill_n(h, state, 0.0F);
    }
    layer.ProjectInput(weights, context.in<float>(0).data(), steps * batch, x_gates);
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t step = layer.IsReverse(direction) ? steps - 1 - i : i;
      layer.ProjectState(weights, h, batch, /*accumulate=*/false, h_gates);
      for (int64_t row = 0; row < batch; ++row) {
        GruCell(x_gates + (step * batch + row) * columns, h_gates + row * columns, hidden,
                h + row * hidden, h + row * hidden);
      }
      if (context.has_output(0)) {
        std::copy_n(h, state,
                    context.out<float>(0).data() + (step * layer.directions() + direction) * state);
      }
    }
    if (context.has_output(1)) {
      std::copy_n(h, state, context.out<float>(1).data() + direction * state);
    }
  }
  return OkStatus();
}

}  // namespace

const Tactic kGru = {
    .id = "cpu/gru",
    .op = "GRU",
    .accepts = [](const Graph& graph,
                  const Node& node) { return Recurrent::Accepts(graph, node, kGates); },
    .pack = [](const Graph& graph,
               const Node& node) { return Recurrent::PackWeights(graph, node, kGates); },
    .packed_bytes = [](const Graph& graph,
                       const Node& node) { return Recurrent::PackedBytes(graph, node, kGates); },
    .run = Run,
    .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
