#include "compile/run_parts.h"

namespace verdict {

Result<std::vector<Constant>> RunParts(const Graph& graph, std::span<const PartGraph> parts,
                                       std::span<const Constant> inputs, const RunPart& run) {
  std::vector<Constant> values(static_cast<size_t>(graph.num_values()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  }
  for (size_t index = 0; index < parts.size(); ++index) {
    std::vector<TensorView> views;
    for (const ValueId id : parts[index].inputs) {
      views.push_back(values[static_cast<size_t>(id)].view());
    }
    VERDICT_ASSIGN_OR_RETURN(std::vector<Constant> outputs, run(index, views));
    for (size_t i = 0; i < outputs.size(); ++i) {
      values[static_cast<size_t>(parts[index].outputs[i])] = std::move(outputs[i]);
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
