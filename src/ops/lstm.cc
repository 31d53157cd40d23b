#include "ops/list.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

constexpr RecurrentKind kKind = {.gates = 4,
                                 .peephole_gates = 3,
                                 .has_cell_state = true,
                                 .activations = {"Sigmoid", "Tanh", "Tanh"}};

Status Infer(InferContext& context) { return InferRecurrent(context, kKind); }

/// One step. Gates are in ONNX's order: input, output, forget, cell; peepholes: input, output,
/// forget. As in ONNX Runtime, clipping covers the gates but not the cell state.
template <typename T>
class Cell {
 public:
  explicit Cell(bool couples_forget) : couples_forget_(couples_forget) {}

  void operator()(const RecurrentDirection<T>& direction, const T* x, std::span<T> h,
                  std::span<T> c, std::span<T> scratch) const {
    const size_t size = h.size();
    direction.StartGates(x, 0, 4 * direction.hidden, scratch.data());
    direction.AddRecurrent(h.data(), 0, 4 * direction.hidden, scratch.data());
    const auto gate = [&](size_t index) { return scratch.subspan(index * size, size); };
    const auto input = gate(0);
    const auto output = gate(1);
    const auto forget = gate(2);
    const auto candidate = gate(3);
    const T* peepholes = direction.peepholes;
    if (peepholes != nullptr) {
      for (size_t i = 0; i < size; ++i) {
        input[i] += peepholes[i] * c[i];
        forget[i] += peepholes[2 * size + i] * c[i];
      }
    }
    direction.Activate(0, input);
    direction.Activate(0, forget);
    direction.Activate(1, candidate);
    for (size_t i = 0; i < size; ++i) {
      const T kept = couples_forget_ ? T(1) - input[i] : forget[i];
      c[i] = kept * c[i] + input[i] * candidate[i];
      if (peepholes != nullptr) output[i] += peepholes[size + i] * c[i];
    }
    direction.Activate(0, output);
    std::ranges::copy(c, h.begin());
    Apply(direction.activations[2], h);
    for (size_t i = 0; i < size; ++i) h[i] *= output[i];
  }

 private:
  bool couples_forget_;
};

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.inputs[kRecurrentX].dtype, [&](auto zero) {
    using T = decltype(zero);
    return RunRecurrent<T>(context, kKind,
                           Cell<T>(context.attributes().Int("input_forget", 0) != 0));
  });
}

constexpr size_t kVectors = 6;  // h, c and four gates

size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  return RecurrentScratchBytes(inputs, kVectors);
}

constexpr RecurrentKind QuantizedKind() {
  RecurrentKind kind = kKind;
  kind.quantized = true;
  return kind;
}

Status InferQuantized(InferContext& context) { return InferRecurrent(context, QuantizedKind()); }

Status RunQuantized(KernelContext& context) {
  return RunQuantizedRecurrent(context, kKind, kVectors,
                               Cell<float>(context.attributes().Int("input_forget", 0) != 0));
}

size_t QuantizedScratchBytes(const Node&, std::span<const TensorView> inputs,
                             std::span<const TensorView>) {
  return QuantizedRecurrentScratchBytes(inputs, kVectors);
}

}  // namespace

const OpDef kLstmOp = {.name = "LSTM",
                       .min_inputs = 3,
                       .max_inputs = 8,
                       .min_outputs = 1,
                       .max_outputs = 3,
                       .attributes = kRecurrentAttributes,
                       .infer = Infer,
                       .run = Run,
                       .scratch_bytes = ScratchBytes};

const OpDef kQuantizedLstmOp = {.name = "QuantizedLSTM",
                                .min_inputs = 3,
                                .max_inputs = 10,
                                .min_outputs = 1,
                                .max_outputs = 3,
                                .attributes = kRecurrentAttributes,
                                .infer = InferQuantized,
                                .run = RunQuantized,
                                .scratch_bytes = QuantizedScratchBytes};

}  // namespace verdict
