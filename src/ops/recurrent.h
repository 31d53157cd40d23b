#pragma once

#include <algorithm>
#include <array>

#include "ops/activation_functions.h"
#include "ops/dispatch.h"
#include "ops/gemm_loops.h"
#include "ops/op.h"

// What LSTM, GRU and RNN share: attributes, inputs, shapes and the walk over directions, samples
// and steps. An operator adds its cell: one step of one sample.

namespace verdict {

/// Inputs of the recurrent operators; kRecurrentInitialC and kRecurrentP are of LSTMs, the last two
/// of quantized layers.
enum RecurrentInput : size_t {
  kRecurrentX,
  kRecurrentW,
  kRecurrentR,
  kRecurrentB,
  kRecurrentSequenceLens,
  kRecurrentInitialH,
  kRecurrentInitialC,
  kRecurrentP,
  kRecurrentWScales,
  kRecurrentRScales,
};

/// What tells the three operators apart.
struct RecurrentKind {
  int gates;           // blocks of hidden_size rows in W and R
  int peephole_gates;  // and in P
  bool has_cell_state;
  std::array<std::string_view, 3> activations;  // defaults; "" after the last
  /// QuantizedLSTM and QuantizedGRU: W [D, G*H, I] and R [D, G*H, H] are int8 with a scale for each
  /// of the G*H rows, or float16 or bfloat16 without. What they are multiplied with is rounded to
  /// the same type: to int8 by a scale of its own for each sample's x or h, its largest / 127; all
  /// else is float32.
  bool quantized = false;
};

inline constexpr AttributeSpec kRecurrentAttributes[] = {
    {"activation_alpha", AttributeType::kFloats},
    {"activation_beta", AttributeType::kFloats},
    {"activations", AttributeType::kStrings},
    {"clip", AttributeType::kFloat},
    {"compute_type", AttributeType::kString},
    {"direction", AttributeType::kString},
    {"hidden_size", AttributeType::kInt},
    {"input_forget", AttributeType::kInt},
    {"layout", AttributeType::kInt},
    {"linear_before_reset", AttributeType::kInt}};

/// Attribute of LSTM and GRU nodes whose W and R are dequantized constants: the type that products
/// may be computed with ("int8", "float16", "bfloat16"), as Lower then has it. In float32 it
/// changes nothing.
inline constexpr std::string_view kComputeType = "compute_type";

/// The shape rule of all three.
Status InferRecurrent(InferContext& context, const RecurrentKind& kind);

/// Bytes of scratch for `vectors` vectors of hidden_size elements.
size_t RecurrentScratchBytes(std::span<const TensorView> inputs, size_t vectors);

/// Bytes of scratch for the weights of a quantized layer in float32 and a row of x or h, beside the
/// vectors.
size_t QuantizedRecurrentScratchBytes(std::span<const TensorView> inputs, size_t vectors);

/// Extents and how tensors are laid out.
struct RecurrentShape {
  int64_t steps = 0;
  int64_t batch = 0;
  int64_t inputs = 0;
  int64_t hidden = 0;
  int64_t directions = 0;
  bool batch_first = false;  // layout 1

  int64_t XOffset(int64_t step, int64_t sample) const {
    return (batch_first ? sample * steps + step : step * batch + sample) * inputs;
  }
  int64_t YOffset(int64_t step, int64_t direction, int64_t sample) const {
    return (batch_first ? (sample * steps + step) * directions + direction
                        : (step * directions + direction) * batch + sample) *
           hidden;
  }
  int64_t StateOffset(int64_t direction, int64_t sample) const {
    return (batch_first ? sample * directions + direction : direction * batch + sample) * hidden;
  }
};
RecurrentShape ReadRecurrentShape(const KernelContext& context);

/// Activations of each direction, three apart. An activation's parameters are taken from
/// activation_alpha and activation_beta in order, by those that have them.
using RecurrentActivations = std::array<Activation, 6>;

/// False if the attributes do not name as many known activations as the node needs.
bool ReadRecurrentActivations(const AttributeReader& attributes, const RecurrentKind& kind,
                              int64_t directions, RecurrentActivations* activations);

/// One direction's weights and settings, as a cell uses them.
template <typename T>
struct RecurrentDirection {
  int64_t inputs = 0;
  int64_t hidden = 0;
  const T* w = nullptr;
  const T* r = nullptr;
  const T* input_bias = nullptr;      // null without B
  const T* recurrent_bias = nullptr;  // null without B
  const T* peepholes = nullptr;       // null without P
  std::span<const Activation> activations;
  T clip = 0;  // 0: no clipping
  /// Rounds what the weights are multiplied with, in place; null: not at all.
  void (*round)(std::span<T> row) = nullptr;
  std::span<T> rounded;  // a row of x or h

  /// Sets out[0, rows) to the input's part of gate rows [first, first + rows), with its bias.
  void StartGates(const T* x, int64_t first, int64_t rows, T* out) const {
    for (int64_t i = 0; i < rows; ++i)
      out[i] = input_bias == nullptr ? T(0) : input_bias[first + i];
    AddProductTransposed(Rounded(x, inputs), w + first * inputs, out, 1, inputs, rows);
  }
  /// Adds the hidden state's part of gate rows [first, first + rows), with its bias.
  void AddRecurrent(const T* h, int64_t first, int64_t rows, T* out) const {
    if (recurrent_bias != nullptr) {
      for (int64_t i = 0; i < rows; ++i) out[i] += recurrent_bias[first + i];
    }
    AddProductTransposed(Rounded(h, hidden), r + first * hidden, out, 1, hidden, rows);
  }
  /// Clips and activates a gate in place.
  void Activate(size_t activation, std::span<T> gate) const {
    if (clip > T(0)) {
      for (T& value : gate) value = std::clamp(value, -clip, clip);
    }
    Apply(activations[activation], gate);
  }

 private:
  const T* Rounded(const T* row, int64_t size) const {
    if (round == nullptr) return row;
    std::copy_n(row, size, rounded.data());
    round(rounded.first(static_cast<size_t>(size)));
    return rounded.data();
  }
};

/// The weights that a layer computes with, of all directions.
template <typename T>
struct RecurrentWeights {
  const T* w = nullptr;
  const T* r = nullptr;
  void (*round)(std::span<T> row) = nullptr;
  std::span<T> rounded;
};

/// Those of a quantized layer in float32. scratch: what QuantizedRecurrentScratchBytes says is
/// beside the vectors.
RecurrentWeights<float> DequantizeRecurrent(const KernelContext& context, std::span<float> scratch);

/// Runs every direction, sample and step. cell(direction, x, h, c, scratch) advances one sample by
/// one step; h (and c, with a cell state) are its states, scratch the rest of the node's scratch.
/// As in ONNX Runtime, outputs past a sample's end are 0, and so are the last states of a sample of
/// no steps.
template <typename T, typename Cell>
Status RunRecurrent(KernelContext& context, const RecurrentKind& kind,
                    const RecurrentWeights<T>& weights, std::span<T> scratch, const Cell& cell) {
  const auto attributes = context.attributes();
  const RecurrentShape shape = ReadRecurrentShape(context);
  const auto size = static_cast<size_t>(shape.hidden);
  RecurrentActivations activations;
  VERDICT_CHECK(ReadRecurrentActivations(attributes, kind, shape.directions, &activations));
  const auto input_or_null = [&](size_t input) {
    return context.has_input(input) ? context.in<T>(input).data() : nullptr;
  };
  const T* x = context.in<T>(kRecurrentX).data();
  const T* bias = input_or_null(kRecurrentB);
  const T* initial_h = input_or_null(kRecurrentInitialH);
  const T* initial_c = kind.has_cell_state ? input_or_null(kRecurrentInitialC) : nullptr;
  const T* peepholes = kind.has_cell_state ? input_or_null(kRecurrentP) : nullptr;
  const auto h = scratch.first(size);
  const auto c = scratch.subspan(size, kind.has_cell_state ? size : 0);
  const auto rest = scratch.subspan(h.size() + c.size());
  const auto store = [&](size_t output, int64_t offset, std::span<const T> values) {
    if (!context.has_output(output)) return;
    std::ranges::copy(values, context.out<T>(output).begin() + offset);
  };

  for (int64_t d = 0; d < shape.directions; ++d) {
    const int64_t rows = kind.gates * shape.hidden;
    RecurrentDirection<T> direction{
        .inputs = shape.inputs,
        .hidden = shape.hidden,
        .w = weights.w + d * rows * shape.inputs,
        .r = weights.r + d * rows * shape.hidden,
        .activations = std::span(activations).subspan(static_cast<size_t>(d) * 3, 3),
        .clip = static_cast<T>(attributes.Float("clip", 0.0F)),
        .round = weights.round,
        .rounded = weights.rounded};
    if (bias != nullptr) {
      direction.input_bias = bias + d * 2 * rows;
      direction.recurrent_bias = direction.input_bias + rows;
    }
    if (peepholes != nullptr) {
      direction.peepholes = peepholes + d * kind.peephole_gates * shape.hidden;
    }
    const bool backwards = d == 1 || attributes.String("direction", "forward") == "reverse";

    for (int64_t sample = 0; sample < shape.batch; ++sample) {
      const int64_t state = shape.StateOffset(d, sample);
      const auto start = [&](std::span<T> values, const T* initial) {
        if (initial != nullptr) {
          std::copy_n(initial + state, values.size(), values.begin());
        } else {
          std::ranges::fill(values, T(0));
        }
      };
      start(h, initial_h);
      start(c, initial_c);
      int64_t length = shape.steps;
      if (context.has_input(kRecurrentSequenceLens)) {
        length = context.in<int32_t>(kRecurrentSequenceLens)[static_cast<size_t>(sample)];
        if (length < 0 || length > shape.steps) {
          return context.Error("sequence_lens[" + std::to_string(sample) + "] is " +
                               std::to_string(length) + ", needs 0 to " +
                               std::to_string(shape.steps));
        }
      }
      for (int64_t i = 0; i < length; ++i) {
        const int64_t step = backwards ? length - 1 - i : i;
        cell(direction, x + shape.XOffset(step, sample), h, c, rest);
        store(0, shape.YOffset(step, d, sample), h);
      }
      if (length == 0) {
        std::ranges::fill(h, T(0));
        std::ranges::fill(c, T(0));
      }
      store(1, state, h);
      if (kind.has_cell_state) store(2, state, c);
      std::ranges::fill(h, T(0));
      for (int64_t step = length; step < shape.steps; ++step) {
        store(0, shape.YOffset(step, d, sample), h);
      }
    }
  }
  return OkStatus();
}

/// With W and R of T, and all of the scratch.
template <typename T, typename Cell>
Status RunRecurrent(KernelContext& context, const RecurrentKind& kind, const Cell& cell) {
  const RecurrentWeights<T> weights{.w = context.in<T>(kRecurrentW).data(),
                                    .r = context.in<T>(kRecurrentR).data()};
  return RunRecurrent<T>(context, kind, weights,
                         context.Scratch<T>(context.scratch.size() / sizeof(T)), cell);
}

/// Of a quantized layer. vectors: of the scratch, as of QuantizedRecurrentScratchBytes.
template <typename Cell>
Status RunQuantizedRecurrent(KernelContext& context, const RecurrentKind& kind, size_t vectors,
                             const Cell& cell) {
  const auto scratch = context.Scratch<float>(context.scratch.size() / sizeof(float));
  const size_t own = vectors * static_cast<size_t>(context.inputs[kRecurrentR].shape[2]);
  return RunRecurrent<float>(context, kind, DequantizeRecurrent(context, scratch.subspan(own)),
                             scratch.first(own), cell);
}

}  // namespace verdict
