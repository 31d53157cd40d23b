#include "backends/cpu/recurrent.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "base/checked_math.h"
#include "ops/half.h"
#include "ops/recurrent.h"

namespace verdict::cpu {
namespace {

bool IsLeftOut(const Node& node, size_t input) {
  return input >= node.inputs.size() || node.inputs[input] == kNoValue;
}

bool AreFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

template <typename Half>
bool AreFinite(std::span<const Half> values) {
  return std::ranges::all_of(values, [](Half value) { return std::isfinite(value.ToFloat()); });
}

/// Whether all of R is, and what int8 is scaled by.
bool IsFinite(const Graph& graph, const Node& node) {
  const TensorView r = graph.constant(node.inputs[kRecurrentR])->view();
  switch (r.dtype) {
    case DataType::kFloat32:
      return AreFinite(r.as<const float>());
    case DataType::kFloat16:
      return AreFinite(r.as<const Float16>());
    case DataType::kBFloat16:
      return AreFinite(r.as<const BFloat16>());
    default: {
      const auto scales = [&](size_t input) {
        return graph.constant(node.inputs[input])->view().as<const float>();
      };
      return AreFinite(scales(kRecurrentWScales)) && AreFinite(scales(kRecurrentRScales));
    }
  }
}

}  // namespace

Status Recurrent::Accepts(const Graph& graph, const Node& node, int64_t gates) {
  for (size_t input :
       {kRecurrentW, kRecurrentR, kRecurrentB, kRecurrentWScales, kRecurrentRScales}) {
    if (IsLeftOut(node, input)) continue;
    if (graph.constant(node.inputs[input]) == nullptr) {
      return Unimplemented("weights, bias or scales are not constants");
    }
  }
  if (!IsFinite(graph, node)) return Unimplemented("R is not finite");
  if (!IsLeftOut(node, kRecurrentSequenceLens)) return Unimplemented("sequence_lens is given");
  if (!IsLeftOut(node, kRecurrentP)) return Unimplemented("peepholes are given");
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

template <typename Product>
Status RecurrentLayer<Product>::Accepts(const Graph& graph, const Node& node, int64_t gates) {
  if (!Product::Takes(graph.value(node.inputs[kRecurrentW]).dtype)) {
    return Unimplemented("weights are of another type");
  }
  return Recurrent::Accepts(graph, node, gates);
}

template <typename Product>
size_t RecurrentLayer<Product>::ScratchBytes(std::span<const TensorView> inputs, int64_t vectors) {
  const Shape& x = inputs[kRecurrentX].shape;
  const int64_t hidden = inputs[kRecurrentR].shape[2];
  constexpr size_t kTooMuch = SIZE_MAX / 2;
  size_t bytes = sizeof(float), rows = 0;
  for (int64_t extent : {vectors, x[1], hidden}) {
    if (!CheckedMul(bytes, static_cast<size_t>(extent), &bytes)) return kTooMuch;
  }
  // A product's rows are at most as large as those of x and h, which are there already.
  if (!CheckedMul(static_cast<size_t>(x[0]), static_cast<size_t>(x[1]), &rows)) return kTooMuch;
  const size_t products = std::max(Product::ScratchBytes(static_cast<int64_t>(rows), x[2]),
                                   Product::ScratchBytes(x[1], hidden));
  return CheckedAdd(bytes, products, &bytes) ? bytes : kTooMuch;
}

template <typename Product>
size_t RecurrentLayer<Product>::PackedBytes(const Graph& graph, const Node& node, int64_t gates) {
  const RecurrentLayer layer(node, gates, graph.value(node.inputs[kRecurrentW]).shape,
                             graph.value(node.inputs[kRecurrentR]).shape);
  return static_cast<size_t>(layer.directions_) * layer.DirectionBytes();
}

template <typename Product>
Result<std::vector<std::byte>> RecurrentLayer<Product>::PackWeights(const Graph& graph,
                                                                    const Node& node,
                                                                    int64_t gates) {
  const Constant* w = graph.constant(node.inputs[kRecurrentW]);
  const Constant* r = graph.constant(node.inputs[kRecurrentR]);
  const RecurrentLayer layer(node, gates, w->shape, r->shape);
  const int64_t columns = layer.gate_columns();
  std::vector<std::byte> bytes(PackedBytes(graph, node, gates));
  const auto scales = [&](size_t input) {
    return IsLeftOut(node, input) ? nullptr : graph.constant(node.inputs[input]);
  };
  for (int64_t direction = 0; direction < layer.directions_; ++direction) {
    const Weights at = layer.At(bytes.data(), direction);
    if (!IsLeftOut(node, kRecurrentB)) {
      const float* bias =
          graph.constant(node.inputs[kRecurrentB])->view().as<const float>().data() +
          direction * 2 * columns;
      std::copy_n(bias, columns, const_cast<float*>(at.w_bias));
      std::copy_n(bias + columns, columns, const_cast<float*>(at.r_bias));
      // An LSTM adds both to the same sum; a GRU's reset gate comes between them.
      if (gates == 4)
        std::transform(at.w_bias, at.w_bias + columns, at.r_bias, const_cast<float*>(at.w_bias),
                       std::plus<float>());
    }
    Product::Pack({w, scales(kRecurrentWScales), direction}, const_cast<std::byte*>(at.w));
    Product::Pack({r, scales(kRecurrentRScales), direction}, const_cast<std::byte*>(at.r));
  }
  return bytes;
}

template <typename Product>
typename RecurrentLayer<Product>::Weights RecurrentLayer<Product>::At(const std::byte* packed,
                                                                      int64_t direction) const {
  const std::byte* at = packed + static_cast<size_t>(direction) * DirectionBytes();
  const auto* const bias = reinterpret_cast<const float*>(at);
  const std::byte* const w = at + BiasBytes();
  return {bias, bias + Product::Padded(gate_columns()), w,
          w + Product::Bytes(input_, gate_columns())};
}

template <typename Product>
void RecurrentLayer<Product>::ProjectInput(const Weights& weights, const float* x, int64_t rows,
                                           float* gates, std::byte* scratch) const {
  Product::Run({.rows = rows,
                .k = input_,
                .n = gate_columns(),
                .x = x,
                .packed = weights.w,
                .bias = weights.w_bias,
                .accumulate = false,
                .c = gates,
                .scratch = scratch});
}

template <typename Product>
void RecurrentLayer<Product>::ProjectState(const Weights& weights, const float* h, int64_t batch,
                                           bool accumulate, float* gates,
                                           std::byte* scratch) const {
  const int64_t columns = gate_columns();
  if (std::all_of(h, h + batch * hidden_, [](float value) { return value == 0.0F; })) {
    for (int64_t row = 0; !accumulate && row < batch; ++row) {
      std::copy_n(weights.r_bias, columns, gates + row * columns);
    }
    return;
  }
  Product::Run({.rows = batch,
                .k = hidden_,
                .n = columns,
                .x = h,
                .packed = weights.r,
                .bias = weights.r_bias,
                .accumulate = accumulate,
                .c = gates,
                .scratch = scratch});
}

template class RecurrentLayer<FloatProduct>;
template class RecurrentLayer<Int8Product>;
template class RecurrentLayer<BFloat16Product>;
template class RecurrentLayer<Float16Product>;

}  // namespace verdict::cpu
