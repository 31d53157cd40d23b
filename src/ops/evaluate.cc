#include "ops/evaluate.h"

#include "base/checked_math.h"
#include "ops/infer.h"
#include "ops/op.h"

namespace verdict {
namespace {

/// No single tensor of an interpreted graph may be larger: a hostile shape must not take the
/// machine down.
constexpr size_t kMaxTensorBytes = size_t{4} << 30;

/// A kernel's strings point into its inputs; these own their characters.
Result<Constant> OwnStrings(const Node& node, const Constant& strings) {
  const auto views = strings.view().as<const std::string_view>();
  size_t bytes = 0;
  for (std::string_view view : views) {
    bytes += view.size();
    if (bytes > kMaxTensorBytes) {
      return ResourceExhausted(Graph::Describe(node) + ": its strings would take more than " +
                               std::to_string(kMaxTensorBytes) + " bytes");
    }
  }
  return Constant::OfStrings(strings.shape, {views.begin(), views.end()});
}

}  // namespace

Result<std::vector<Constant>> EvaluateNode(const Node& node, std::span<const TensorView> inputs) {
  std::vector<TensorView> outputs(node.outputs.size());
  VERDICT_RETURN_IF_ERROR(InferNode(node, inputs, outputs, nullptr));
  std::vector<Constant> results(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    if (!outputs[i].shape.IsStatic()) {
      return Unimplemented(Graph::Describe(node) + ": the shape of output " + std::to_string(i) +
                           " depends on the data");
    }
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(outputs[i].dtype, outputs[i].shape));
    if (bytes > kMaxTensorBytes) {
      return ResourceExhausted(Graph::Describe(node) + ": output " + std::to_string(i) +
                               " would take " + std::to_string(bytes) + " bytes");
    }
    auto [constant, data] = Constant::Allocate(outputs[i].dtype, outputs[i].shape);
    outputs[i].data = data;
    results[i] = std::move(constant);
  }
  const OpDef* op = FindOp(node.op);
  Constant scratch_owner;
  std::span<std::byte> scratch;
  if (op->scratch_bytes != nullptr) {
    const size_t bytes = op->scratch_bytes(node, inputs, outputs);
    if (bytes > kMaxTensorBytes) {
      return ResourceExhausted(Graph::Describe(node) + ": it would take " + std::to_string(bytes) +
                               " bytes of scratch");
    }
    auto [constant, data] =
        Constant::Allocate(DataType::kUInt8, Shape{static_cast<int64_t>(bytes)});
    scratch_owner = std::move(constant);
    scratch = {static_cast<std::byte*>(data), bytes};
  }
  KernelContext context{node, inputs, outputs, scratch, {}};
  VERDICT_RETURN_IF_ERROR(op->run(context));
  for (Constant& result : results) {
    if (result.dtype != DataType::kString) continue;
    VERDICT_ASSIGN_OR_RETURN(result, OwnStrings(node, result));
  }
  return results;
}

Result<std::vector<Constant>> Evaluate(const Graph& graph, std::span<const TensorView> inputs,
                                       const BeforeNode& before) {
  VERDICT_CHECK(inputs.size() == graph.inputs.size());
  std::vector<Constant> values(static_cast<size_t>(graph.num_values()));
  std::vector<int32_t> uses = graph.UseCounts();
  for (size_t i = 0; i < inputs.size(); ++i) {
    // Not ours to free.
    values[static_cast<size_t>(graph.inputs[i])] = {inputs[i].dtype, inputs[i].shape,
                                                    inputs[i].data, nullptr};
  }
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    if (const Constant* constant = graph.constant(id)) values[static_cast<size_t>(id)] = *constant;
  }
  std::vector<TensorView> node_inputs;
  for (const Node& node : graph.nodes) {
    node_inputs.clear();
    for (ValueId id : node.inputs) {
      node_inputs.push_back(id == kNoValue ? TensorView{} : values[static_cast<size_t>(id)].view());
    }
    if (before) before(node, node_inputs);
    VERDICT_ASSIGN_OR_RETURN(auto results, EvaluateNode(node, node_inputs));
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] != kNoValue) {
        values[static_cast<size_t>(node.outputs[i])] = std::move(results[i]);
      }
    }
    for (ValueId id : node.inputs) {
      if (id != kNoValue && --uses[static_cast<size_t>(id)] == 0) {
        values[static_cast<size_t>(id)] = Constant{};
      }
    }
  }
  std::vector<Constant> outputs;
  for (ValueId id : graph.outputs) outputs.push_back(values[static_cast<size_t>(id)]);
  return outputs;
}

}  // namespace verdict
