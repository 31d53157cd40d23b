#include "backends/cpu/gemm.h"
#include "backends/cpu/recurrent.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kGates = 3;

/// Scratch: input gates of all steps [T * B, 3H], state gates [B, 3H], then h [B, H].
template <typename Layer>
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  return Layer::ScratchBytes(inputs, (inputs[0].shape[0] + 1) * kGates + 1);
}

template <typename Layer>
Status Run(KernelContext& context) {
  const Shape& x = context.inputs[0].shape;
  const int64_t steps = x[0], batch = x[1];
  const Layer layer(context.node, kGates, context.inputs[1].shape, context.inputs[2].shape);
  const int64_t hidden = layer.hidden(), columns = layer.gate_columns();
  const auto state = static_cast<size_t>(batch * hidden);
  const auto step_size = static_cast<size_t>(batch * columns);
  const std::span<float> scratch =
      context.Scratch<float>(static_cast<size_t>(steps + 1) * step_size + state);
  const std::span<float> x_gates = scratch.first(static_cast<size_t>(steps) * step_size);
  const std::span<float> h_gates = scratch.subspan(x_gates.size(), step_size);
  const std::span<float> h = scratch.subspan(x_gates.size() + step_size, state);
  std::byte* const rest = context.scratch.data() + scratch.size_bytes();
  for (int64_t direction = 0; direction < layer.directions(); ++direction) {
    const auto weights = layer.At(context.packed.data(), direction);
    Recurrent::LoadState(context, 5, direction, h);
    layer.ProjectInput(weights, context.in<float>(0).data(), steps * batch, x_gates.data(), rest);
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t step = layer.IsReverse(direction) ? steps - 1 - i : i;
      layer.ProjectState(weights, h.data(), batch, /*accumulate=*/false, h_gates.data(), rest);
      for (int64_t row = 0; row < batch; ++row) {
        float* row_h = h.data() + row * hidden;
        GruCell(x_gates.data() + (step * batch + row) * columns, h_gates.data() + row * columns,
                hidden, row_h, row_h);
      }
      layer.StoreStep(context, step, direction, h);
    }
    Recurrent::StoreState(context, 1, direction, h);
  }
  return OkStatus();
}

}  // namespace

using FloatLayer = RecurrentLayer<FloatProduct>;
using Int8Layer = RecurrentLayer<Int8Product>;
using BFloat16Layer = RecurrentLayer<BFloat16Product>;
using Float16Layer = RecurrentLayer<Float16Product>;

constinit const Tactic kGru = RecurrentTactic<FloatLayer, kGates>("cpu/gru", "GRU", Run<FloatLayer>,
                                                                  ScratchBytes<FloatLayer>);
constinit const Tactic kInt8Gru = RecurrentTactic<Int8Layer, kGates>(
    "cpu/int8_gru", "QuantizedGRU", Run<Int8Layer>, ScratchBytes<Int8Layer>);
constinit const Tactic kBFloat16Gru = RecurrentTactic<BFloat16Layer, kGates>(
    "cpu/bfloat16_gru", "QuantizedGRU", Run<BFloat16Layer>, ScratchBytes<BFloat16Layer>);
constinit const Tactic kFloat16Gru = RecurrentTactic<Float16Layer, kGates>(
    "cpu/float16_gru", "QuantizedGRU", Run<Float16Layer>, ScratchBytes<Float16Layer>);

}  // namespace verdict::cpu
