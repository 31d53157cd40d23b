#include "ops/infer.h"

#include <algorithm>

#include "ops/evaluate.h"
#include "ops/op.h"

namespace verdict {
namespace {

/// Contents of at most this many elements are worth computing: shapes, axes, slice bounds.
constexpr int64_t kMaxKnownElements = 64;

/// Walks the nodes in order, keeping types, shapes and, for small tensors, contents that follow
/// from shapes and constants alone.
class Walk {
 public:
  Walk(const Graph& graph, Graph* symbols) : graph_(graph), symbols_(symbols) {
    views_.resize(static_cast<size_t>(graph.num_values()));
    for (ValueId id = 0; id < graph.num_values(); ++id) {
      if (const Constant* constant = graph.constant(id)) view(id) = constant->view();
    }
  }

  TensorView& view(ValueId id) { return views_[static_cast<size_t>(id)]; }

  Status Run() {
    for (const Node& node : graph_.nodes) VERDICT_RETURN_IF_ERROR(Visit(node));
    return OkStatus();
  }

  std::vector<TensorView> TakeViews() {
    for (TensorView& view : views_) view.data = nullptr;
    return std::move(views_);
  }

 private:
  Status Visit(const Node& node) {
    inputs_.clear();
    for (ValueId id : node.inputs) inputs_.push_back(id == kNoValue ? TensorView{} : view(id));
    outputs_.assign(node.outputs.size(), TensorView{});
    VERDICT_RETURN_IF_ERROR(InferNode(node, inputs_, outputs_, symbols_));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) view(node.outputs[i]) = outputs_[i];
    }
    return ComputeIfKnown(node);
  }

  bool Known(const TensorView& tensor) const {
    return tensor.dtype == DataType::kUndefined || tensor.data != nullptr;
  }

  Status ComputeIfKnown(const Node& node) {
    for (const TensorView& output : outputs_) {
      if (!output.shape.IsStatic()) return OkStatus();
      const auto count = NumElements(output.shape);
      if (!count.ok() || *count > kMaxKnownElements) return OkStatus();
    }
    // Shape and Size need their input's extents only.
    const bool from_shape =
        (node.op == "Shape" || node.op == "Size") && inputs_[0].shape.IsStatic();
    if (!from_shape && !std::ranges::all_of(inputs_, [&](const auto& t) { return Known(t); })) {
      return OkStatus();
    }
    VERDICT_ASSIGN_OR_RETURN(auto values, EvaluateNode(node, inputs_));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      view(node.outputs[i]) = values[i].view();
      known_.push_back(std::move(values[i]));
    }
    return OkStatus();
  }

  const Graph& graph_;
  Graph* symbols_;
  std::vector<TensorView> views_;
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<Constant> known_;
};

}  // namespace

Status InferNode(const Node& node, std::span<const TensorView> inputs,
                 std::span<TensorView> outputs, Graph* graph) {
  const OpDef* op = FindOp(node.op);
  if (op == nullptr) {
    return Unimplemented(Graph::Describe(node) + ": this operator is not supported");
  }
  InferContext context{node, inputs, outputs, graph};
  return op->infer(context);
}

Status InferShapes(Graph& graph) {
  Walk walk(graph, &graph);
  for (ValueId id : graph.inputs) {
    walk.view(id) = {graph.value(id).dtype, graph.value(id).shape, nullptr};
  }
  VERDICT_RETURN_IF_ERROR(walk.Run());
  const std::vector<TensorView> views = walk.TakeViews();
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      graph.value(id).dtype = views[static_cast<size_t>(id)].dtype;
      graph.value(id).shape = views[static_cast<size_t>(id)].shape;
    }
  }
  return OkStatus();
}

Result<std::vector<TensorView>> ResolveShapes(const Graph& graph,
                                              std::span<const Shape> input_shapes) {
  VERDICT_CHECK(input_shapes.size() == graph.inputs.size());
  Walk walk(graph, nullptr);
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    walk.view(graph.inputs[i]) = {input.dtype, input_shapes[i], nullptr};
  }
  VERDICT_RETURN_IF_ERROR(walk.Run());
  std::vector<TensorView> views = walk.TakeViews();
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.outputs) {
      if (id == kNoValue || views[static_cast<size_t>(id)].shape.IsStatic()) continue;
      return Unimplemented(Graph::Describe(node) + ": the shape of '" + graph.value(id).name +
                           "' depends on the data, which an engine cannot plan for");
    }
  }
  return views;
}

}  // namespace verdict
