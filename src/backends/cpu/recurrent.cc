#include "backends/cpu/recurrent.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "base/checked_math.h"

namespace verdict::cpu {
namespace {

bool IsLeftOut(const Node& node, size_t input) {
  return input >= node.inputs.size() || node.inputs[input] == kNoValue;
}

}  // namespace

Status Recurrent::Accepts(const Graph& graph, const Node& node, int64_t gates) {
  for (size_t input : {size_t{1}, size_t{2}, size_t{3}}) {
    if (IsLeftOut(node, input)) continue;
    const Constant* constant = graph.constant(node.inputs[input]);
    if (constant == nullptr || constant->dtype != DataType::kFloat32) {
      return Unimplemented("W, R or B is not a float32 constant");
    }
  }
  const auto r = graph.constant(node.inputs[2])->view().as<const float>();
  if (!std::ranges::all_of(r, [](float weight) { return std::isfinite(weight); })) {
    return Unimplemented("R is not finite");
  }
  if (!IsLeftOut(node, 4)) return Unimplemented("sequence_lens is given");
  if (!IsLeftOut(node, 7)) return Unimplemented("peepholes are given");
  const AttributeReader attributes(node);
  if (attributes.Has("clip")) return Unimplemented("clip is given");
  if (attributes.Int("layout", 0) != 0) return Unimplemented("layout is 1");
  if (attributes.Int("input_forget", 0) != 0) return Unimplemented("input_forget is 1");
  if (gates == 3 && attributes.Int("linear_before_reset", 0) == 0) {
    return Unimplemented("linear_before_reset is 0");
  }
  if (!attributes.Floats("activation_alpha").empty() ||
      !attributes.Floats("activation_beta").empty()) {
    return Unimplemented("activations have parameters");
  }
  const auto activations = attributes.Strings("activations");
  for (size_t i = 0; i < activations.size(); ++i) {
    const bool is_gate = gates == 4 ? i % 3 == 0 : i % 2 == 0;
    if (activations[i] != (is_gate ? "Sigmoid" : "Tanh")) {
      return Unimplemented("activations are not Sigmoid and Tanh");
    }
  }
  return OkStatus();
}

size_t Recurrent::FloatsPerDirection() const {
  const int64_t columns = gate_columns();
  return 2 * static_cast<size_t>(PaddedColumns(columns)) + PackedFloats(input_, columns) +
         PackedFloats(hidden_, columns);
}

size_t Recurrent::VectorBytes(int64_t vectors, int64_t batch, int64_t hidden) {
  size_t bytes = sizeof(float);
  for (int64_t extent : {vectors, batch, hidden}) {
    if (!CheckedMul(bytes, static_cast<size_t>(extent), &bytes)) return SIZE_MAX / 2;
  }
  return bytes;
}

size_t Recurrent::PackedBytes(const Graph& graph, const Node& node, int64_t gates) {
  const Recurrent layer(node, gates, graph.value(node.inputs[1]).shape,
                        graph.value(node.inputs[2]).shape);
  return static_cast<size_t>(layer.directions_) * layer.FloatsPerDirection() * sizeof(float);
}

Result<std::vector<std::byte>> Recurrent::PackWeights(const Graph& graph, const Node& node,
                                                      int64_t gates) {
  const Constant* w = graph.constant(node.inputs[1]);
  const Constant* r = graph.constant(node.inputs[2]);
  const Recurrent layer(node, gates, w->shape, r->shape);
  const int64_t columns = layer.gate_columns();
  std::vector<std::byte> bytes(PackedBytes(graph, node, gates));
  for (int64_t direction = 0; direction < layer.directions_; ++direction) {
    const Weights at = layer.At(bytes.data(), direction);
    if (!IsLeftOut(node, 3)) {
      const float* bias =
          graph.constant(node.inputs[3])->view().as<const float>().data() + direction * 2 * columns;
      std::copy_n(bias, columns, const_cast<float*>(at.w_bias));
      std::copy_n(bias + columns, columns, const_cast<float*>(at.r_bias));
      // An LSTM adds both to the same sum; a GRU's reset gate comes between them.
      if (gates == 4)
        std::transform(at.w_bias, at.w_bias + columns, at.r_bias, const_cast<float*>(at.w_bias),
                       std::plus<float>());
    }
    const float* w_data = w->view().as<const float>().data() + direction * columns * layer.input_;
    const float* r_data = r->view().as<const float>().data() + direction * columns * layer.hidden_;
    Pack(w_data, 1, layer.input_, layer.input_, columns, const_cast<float*>(at.w));
    Pack(r_data, 1, layer.hidden_, layer.hidden_, columns, const_cast<float*>(at.r));
  }
  return bytes;
}

Recurrent::Weights Recurrent::At(const std::byte* packed, int64_t direction) const {
  const float* floats = reinterpret_cast<const float*>(packed) +
                        static_cast<size_t>(direction) * FloatsPerDirection();
  const int64_t padded = PaddedColumns(gate_columns());
  const float* w = floats + 2 * padded;
  return {floats, floats + padded, w, w + PackedFloats(input_, gate_columns())};
}

void Recurrent::LoadState(const KernelContext& context, size_t input, int64_t direction,
                          std::span<float> state) {
  if (!context.has_input(input)) {
    std::ranges::fill(state, 0.0F);
    return;
  }
  const auto given = context.in<float>(input);
  std::ranges::copy(given.subspan(static_cast<size_t>(direction) * state.size(), state.size()),
                    state.begin());
}

void Recurrent::StoreStep(KernelContext& context, int64_t step, int64_t direction,
                          std::span<const float> h) const {
  StoreState(context, 0, step * directions_ + direction, h);
}

void Recurrent::StoreState(KernelContext& context, size_t output, int64_t direction,
                           std::span<const float> state) {
  if (!context.has_output(output)) return;
  std::ranges::copy(
      state, context.out<float>(output).data() + static_cast<size_t>(direction) * state.size());
}

void Recurrent::ProjectInput(const Weights& weights, const float* x, int64_t rows,
                             float* gates) const {
  Gemm({.m = rows,
        .k = input_,
        .n = gate_columns(),
        .a = x,
        .lda = input_,
        .packed = weights.w,
        .bias = weights.w_bias,
        .c = gates,
        .ldc = gate_columns()});
}

void Recurrent::ProjectState(const Weights& weights, const float* h, int64_t batch, bool accumulate,
                             float* gates) const {
  const int64_t columns = gate_columns();
  if (std::all_of(h, h + batch * hidden_, [](float value) { return value == 0.0F; })) {
    for (int64_t row = 0; !accumulate && row < batch; ++row) {
      std::copy_n(weights.r_bias, columns, gates + row * columns);
    }
    return;
  }
  Gemm({.m = batch,
        .k = hidden_,
        .n = columns,
        .a = h,
        .lda = hidden_,
        .packed = weights.r,
        .bias = weights.r_bias,
        .accumulate = accumulate,
        .c = gates,
        .ldc = columns});
}

}  // namespace verdict::cpu
