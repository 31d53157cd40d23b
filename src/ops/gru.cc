#include "ops/list.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

constexpr RecurrentKind kKind = {.gates = 3,
                                 .peephole_gates = 0,
                                 .has_cell_state = false,
                                 .activations = {"Sigmoid", "Tanh", ""}};

Status Infer(InferContext& context) { return InferRecurrent(context, kKind); }

/// One step. Gates are in ONNX's order: update, reset, hidden.
template <typename T>
class Cell {
 public:
  explicit Cell(bool linear_before_reset) : linear_before_reset_(linear_before_reset) {}

  void operator()(const RecurrentDirection<T>& direction, const T* x, std::span<T> h, std::span<T>,
                  std::span<T> scratch) const {
    const size_t size = h.size();
    const int64_t hidden = direction.hidden;
    const auto update = scratch.first(size);
    const auto reset = scratch.subspan(size, size);
    const auto candidate = scratch.subspan(2 * size, size);
    const auto recurrent = scratch.subspan(3 * size, size);
    direction.StartGates(x, 0, 3 * hidden, scratch.data());
    direction.AddRecurrent(h.data(), 0, 2 * hidden, scratch.data());
    direction.Activate(0, update);
    direction.Activate(0, reset);
    if (linear_before_reset_) {
      std::ranges::fill(recurrent, T(0));
      direction.AddRecurrent(h.data(), 2 * hidden, hidden, recurrent.data());
      for (size_t i = 0; i < size; ++i) candidate[i] += reset[i] * recurrent[i];
    } else {
      for (size_t i = 0; i < size; ++i) recurrent[i] = reset[i] * h[i];
      direction.AddRecurrent(recurrent.data(), 2 * hidden, hidden, candidate.data());
    }
    direction.Activate(1, candidate);
    for (size_t i = 0; i < size; ++i) {
      h[i] = (T(1) - update[i]) * candidate[i] + update[i] * h[i];
    }
  }

 private:
  bool linear_before_reset_;
};

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.inputs[kRecurrentX].dtype, [&](auto zero) {
    using T = decltype(zero);
    return RunRecurrent<T>(context, kKind,
                           Cell<T>(context.attributes().Int("linear_before_reset", 0) != 0));
  });
}

constexpr size_t kVectors = 5;  // h, three gates and the hidden gate's recurrent part

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
  return RunQuantizedRecurrent(
      context, kKind, kVectors,
      Cell<float>(context.attributes().Int("linear_before_reset", 0) != 0));
}

size_t QuantizedScratchBytes(const Node&, std::span<const TensorView> inputs,
                             std::span<const TensorView>) {
  return QuantizedRecurrentScratchBytes(inputs, kVectors);
}

}  // namespace

const OpDef kGruOp = {.name = "GRU",
                      .min_inputs = 3,
                      .max_inputs = 6,
                      .min_outputs = 1,
                      .max_outputs = 2,
                      .attributes = kRecurrentAttributes,
                      .infer = Infer,
                      .run = Run,
                      .scratch_bytes = ScratchBytes};

const OpDef kQuantizedGruOp = {.name = "QuantizedGRU",
                               .min_inputs = 3,
                               .max_inputs = 10,
                               .min_outputs = 1,
                               .max_outputs = 2,
                               .attributes = kRecurrentAttributes,
                               .infer = InferQuantized,
                               .run = RunQuantized,
                               .scratch_bytes = QuantizedScratchBytes};

}  // namespace verdict
