#include "ops/list.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

constexpr RecurrentKind kKind = {
    .gates = 1, .peephole_gates = 0, .has_cell_state = false, .activations = {"Tanh", "", ""}};

Status Infer(InferContext& context) { return InferRecurrent(context, kKind); }

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.inputs[kRecurrentX].dtype, [&](auto zero) {
    using T = decltype(zero);
    return RunRecurrent<T>(context, kKind,
                           [](const RecurrentDirection<T>& direction, const T* x, std::span<T> h,
                              std::span<T>, std::span<T> scratch) {
                             const auto gate = scratch.first(h.size());
                             direction.StartGates(x, 0, direction.hidden, gate.data());
                             direction.AddRecurrent(h.data(), 0, direction.hidden, gate.data());
                             direction.Activate(0, gate);
                             std::ranges::copy(gate, h.begin());
                           });
  });
}

/// h and the gate.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  return RecurrentScratchBytes(inputs, 2);
}

}  // namespace

const OpDef kRnnOp = {.name = "RNN",
                      .min_inputs = 3,
                      .max_inputs = 6,
                      .min_outputs = 1,
                      .max_outputs = 2,
                      .attributes = kRecurrentAttributes,
                      .infer = Infer,
                      .run = Run,
                      .scratch_bytes = ScratchBytes};

}  // namespace verdict
