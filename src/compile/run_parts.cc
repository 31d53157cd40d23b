#include "compile/run_parts.h"

#include <cstring>

namespace verdict {

Constant CopyOf(const TensorView& view) {
  auto [constant, data] = Constant::Allocate(view.dtype, view.shape);
  const size_t bytes = ByteSize(view.dtype, view.shape).value();
  if (bytes > 0) std::memcpy(data, view.data, bytes);
  return std::move(constant);
}

Result<std::vector<Constant>> RunParts(const Graph& graph, std::span<const PlanPart> parts,
                                       std::span<const TensorView> inputs, const RunPart& run) {
  std::vector<Constant> values(static_cast<size_t>(graph.num_values()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    // Not ours to free.
    values[static_cast<size_t>(graph.inputs[i])] = {inputs[i].dtype, inputs[i].shape,
                                                    inputs[i].data, nullptr};
  }
  for (size_t index = 0; index < parts.size(); ++index) {
    const PartGraph& part = parts[index].part;
    std::vector<TensorView> views;
    for (const ValueId id : part.inputs) {
      views.push_back(values[static_cast<size_t>(id)].view());
    }
    VERDICT_ASSIGN_OR_RETURN(std::vector<Constant> outputs, run(index, views));
    for (size_t i = 0; i < outputs.size(); ++i) {
      values[static_cast<size_t>(part.outputs[i])] = std::move(outputs[i]);
    }
  }
  std::vector<Constant> outputs;
  for (const ValueId id : graph.outputs) {
    const Constant* constant = graph.constant(id);
    outputs.push_back(constant != nullptr ? *constant : values[static_cast<size_t>(id)]);
  }
  return outputs;
}

}  // namespace verdict
