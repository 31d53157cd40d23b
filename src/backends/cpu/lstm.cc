#include "backends/cpu/gemm.h"
#include "backends/cpu/recurrent.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kGates = 4;

/// Scratch: gates of all steps [T * B, 4H], then h and c [B, H].
template <typename Layer>
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  return Layer::ScratchBytes(inputs, inputs[0].shape[0] * kGates + 2);
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
      context.Scratch<float>(static_cast<size_t>(steps) * step_size + 2 * state);
  const std::span<float> gates = scratch.first(static_cast<size_t>(steps) * step_size);
  const std::span<float> h = scratch.subspan(gates.size(), state);
  const std::span<float> cell = scratch.subspan(gates.size() + state, state);
  std::byte* const rest = context.scratch.data() + scratch.size_bytes();
  for (int64_t direction = 0; direction < layer.directions(); ++direction) {
    const auto weights = layer.At(context.packed.data(), direction);
    Recurrent::LoadState(context, 5, direction, h);
    Recurrent::LoadState(context, 6, direction, cell);
    layer.ProjectInput(weights, context.in<float>(0).data(), steps * batch, gates.data(), rest);
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t step = layer.IsReverse(direction) ? steps - 1 - i : i;
      float* step_gates = gates.data() + step * batch * columns;
      layer.ProjectState(weights, h.data(), batch, /*accumulate=*/true, step_gates, rest);
      for (int64_t row = 0; row < batch; ++row) {
        LstmCell(step_gates + row * columns, hidden, cell.data() + row * hidden,
                 h.data() + row * hidden);
      }
      layer.StoreStep(context, step, direction, h);
    }
    Recurrent::StoreState(context, 1, direction, h);
    Recurrent::StoreState(context, 2, direction, cell);
  }
  return OkStatus();
}

}  // namespace

using FloatLayer = RecurrentLayer<FloatProduct>;
using Int8Layer = RecurrentLayer<Int8Product>;
using BFloat16Layer = RecurrentLayer<BFloat16Product>;
using Float16Layer = RecurrentLayer<Float16Product>;

constinit const Tactic kLstm = RecurrentTactic<FloatLayer, kGates>(
    "cpu/lstm", "LSTM", Run<FloatLayer>, ScratchBytes<FloatLayer>);
constinit const Tactic kInt8Lstm = RecurrentTactic<Int8Layer, kGates>(
    "cpu/int8_lstm", "QuantizedLSTM", Run<Int8Layer>, ScratchBytes<Int8Layer>);
constinit const Tactic kBFloat16Lstm = RecurrentTactic<BFloat16Layer, kGates>(
    "cpu/bfloat16_lstm", "QuantizedLSTM", Run<BFloat16Layer>, ScratchBytes<BFloat16Layer>);
constinit const Tactic kFloat16Lstm = RecurrentTactic<Float16Layer, kGates>(
    "cpu/float16_lstm", "QuantizedLSTM", Run<Float16Layer>, ScratchBytes<Float16Layer>);

}  // namespace verdict::cpu
