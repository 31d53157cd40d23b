#include "ops/infer.h"

#include <algorithm>

#include "base/checked_math.h"
#include "ops/axes.h"
#include "ops/evaluate.h"
#include "ops/op.h"

namespace verdict {
namespace {

/// Contents of at most this many elements are worth computing: shapes, axes, slice bounds.
constexpr int64_t kMaxKnownElements = 64;

/// These only move elements, so that they may carry a symbol of a shape along: from their first
/// input, or from any of Concat's. Other inputs are indices, bounds or axes, where an element below
/// zero counts from the end.
bool MovesElements(std::string_view op) {
  static constexpr std::string_view kOps[] = {"Concat", "Gather",  "Identity", "Reshape",
                                              "Slice",  "Squeeze", "Unsqueeze"};
  return std::ranges::find(kOps, op) != std::end(kOps);
}

/// These take a shape as an input and know what a symbol in it means (an element <= -2 stands for
/// the Dim one above).
bool TakesShape(std::string_view op) {
  return op == "Reshape" || op == "Expand" || op == "ConstantOfShape";
}

bool ReadsSymbols(std::string_view op, size_t input) {
  if (TakesShape(op) && input == (op == "ConstantOfShape" ? 0 : 1)) return true;
  return MovesElements(op) && (input == 0 || op == "Concat");
}

/// Walks the nodes in order, keeping types, shapes and, for small tensors, contents that follow
/// from shapes and constants alone. Contents may be partly symbolic: Shape(x) of [N,16].
class Walk {
 public:
  Walk(const Graph& graph, Graph* symbols) : graph_(graph), symbols_(symbols) {}

  /// What is known of a value. The graph may have grown since the last call.
  TensorView& view(ValueId id) {
    for (auto next = static_cast<ValueId>(views_.size()); next < graph_.num_values(); ++next) {
      const Constant* constant = graph_.constant(next);
      const Value& value = graph_.value(next);
      views_.push_back(constant != nullptr ? constant->view()
                                           : TensorView{value.dtype, value.shape, nullptr});
      symbolic_.emplace_back();
    }
    return views_[static_cast<size_t>(id)];
  }

  std::vector<TensorView> TakeViews() {
    for (TensorView& view : views_) view.data = nullptr;
    return std::move(views_);
  }

  Status Visit(const Node& node) {
    bool any_symbolic = false;
    inputs_.clear();
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      inputs_.push_back(id == kNoValue ? TensorView{} : view(id));
      if (id == kNoValue || !ReadsSymbols(node.op, i)) continue;
      if (const void* data = symbolic_[static_cast<size_t>(id)].data) {
        inputs_.back().data = const_cast<void*>(data);
        any_symbolic = true;
      }
    }
    outputs_.assign(node.outputs.size(), TensorView{});
    VERDICT_RETURN_IF_ERROR(InferNode(node, inputs_, outputs_, symbols_));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) view(node.outputs[i]) = outputs_[i];
    }
    if (!IsCheap(node)) return OkStatus();
    const bool all_known = std::ranges::all_of(inputs_, [](const TensorView& input) {
      return input.dtype == DataType::kUndefined || input.data != nullptr;
    });
    if (node.op == "Shape") return ComputeShape(node);
    if (node.op == "Size" && inputs_[0].shape.IsStatic()) return Compute(node, false);
    if (node.op == "Mul" && !all_known) return ComputeProduct(node);
    if (!all_known || (any_symbolic && !MovesElements(node.op))) return OkStatus();
    return Compute(node, any_symbolic);
  }

 private:
  /// True if the cost of computing the node is bounded by few elements: whoever verifies a hostile
  /// graph comes here. Operators that move elements read no more than they write; Shape and Size
  /// read none.
  bool IsCheap(const Node& node) const {
    const auto is_small = [](const TensorView& tensor) {
      const auto count = NumElements(tensor.shape);
      return count.ok() && *count <= kMaxKnownElements;
    };
    if (!std::ranges::all_of(outputs_, is_small)) return false;
    return MovesElements(node.op) || node.op == "Shape" || node.op == "Size" ||
           std::ranges::all_of(inputs_, is_small);
  }

  Status Compute(const Node& node, bool symbolic) {
    VERDICT_ASSIGN_OR_RETURN(auto values, EvaluateNode(node, inputs_));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) Keep(node.outputs[i], std::move(values[i]), symbolic);
    }
    return OkStatus();
  }

  Status ComputeShape(const Node& node) {
    VERDICT_ASSIGN_OR_RETURN(auto values, EvaluateNode(node, inputs_));
    // The kernel copied symbols as they are; -1 and 0 have a meaning of their own in a target.
    for (int64_t& extent : values[0].view().as<int64_t>()) extent -= IsSymbol(extent) ? 1 : 0;
    Keep(node.outputs[0], std::move(values[0]), true);
    return OkStatus();
  }

  /// A product of extents is an extent: a symbol of its own, so that the rest of a target that it
  /// is in stays known (PyTorch joins batch and heads).
  Status ComputeProduct(const Node& node) {
    std::array<TensorView, 2> factors;
    std::array<bool, 2> may_be_symbol{};
    for (size_t i = 0; i < 2; ++i) {
      const Constant& symbolic = symbolic_[static_cast<size_t>(node.inputs[i])];
      may_be_symbol[i] = symbolic.data != nullptr;
      factors[i] = may_be_symbol[i] ? symbolic.view() : inputs_[i];
      if (factors[i].data == nullptr || factors[i].dtype != DataType::kInt64) return OkStatus();
    }
    auto [product, data] = Constant::Allocate(DataType::kInt64, outputs_[0].shape);
    const int64_t count = product.view().size();
    for (int64_t i = 0; i < count; ++i) {
      // Elements side by side, or one for all; an extent, or the symbol of one.
      const auto factor = [&](size_t f) {
        return IntElement(factors[f], factors[f].size() == 1 ? 0 : i);
      };
      const auto fits = [&](size_t f) {
        const bool is_beside = factors[f].size() == 1 || factors[f].size() == count;
        return is_beside && (factor(f) > 0 || (may_be_symbol[f] && factor(f) <= -2));
      };
      if (symbols_ == nullptr || !fits(0) || !fits(1)) return OkStatus();
      const int64_t a = factor(0), b = factor(1);
      int64_t& to = static_cast<int64_t*>(data)[i];
      if (a > 0 && b > 0) {
        if (!CheckedMul(a, b, &to)) return OkStatus();
      } else {
        to = a == 1 ? b : b == 1 ? a : symbols_->NewSymbol() - 1;
      }
    }
    Keep(node.outputs[0], std::move(product), true);
    return OkStatus();
  }

  /// may_be_symbolic: it was made of a shape that has symbols. What has none of them is known like
  /// any number: a width that was picked out of [N,16].
  void Keep(ValueId id, Constant value, bool may_be_symbolic) {
    const auto is_symbol = [](int64_t element) { return element <= -2; };
    if (may_be_symbolic && std::ranges::any_of(value.view().as<const int64_t>(), is_symbol)) {
      symbolic_[static_cast<size_t>(id)] = std::move(value);
      return;
    }
    view(id).data = const_cast<void*>(value.data);
    known_.push_back(std::move(value));
  }

  const Graph& graph_;
  Graph* symbols_;
  std::vector<TensorView> views_;
  std::vector<Constant> symbolic_;  // per value: int64 contents that hold symbols
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
  VERDICT_RETURN_IF_ERROR(op->infer(context));
  for (const TensorView& output : outputs) {
    for (Dim extent : output.shape.dims()) {
      if (extent > kMaxExtent) {
        return context.Error("makes a tensor with an extent of " + std::to_string(extent));
      }
    }
  }
  return OkStatus();
}

struct ShapeInference::State {
  Graph& graph;
  Walk walk;
};

ShapeInference::ShapeInference(Graph& graph)
    : state_(new State{.graph = graph, .walk = Walk(graph, &graph)}) {}
ShapeInference::~ShapeInference() = default;

Status ShapeInference::Visit(const Node& node) {
  VERDICT_RETURN_IF_ERROR(state_->walk.Visit(node));
  for (ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    state_->graph.value(id).dtype = state_->walk.view(id).dtype;
    state_->graph.value(id).shape = state_->walk.view(id).shape;
  }
  return OkStatus();
}

TensorView ShapeInference::Known(ValueId id) { return state_->walk.view(id); }

Status InferShapes(Graph& graph) {
  ShapeInference inference(graph);
  for (const Node& node : graph.nodes) VERDICT_RETURN_IF_ERROR(inference.Visit(node));
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
  for (const Node& node : graph.nodes) VERDICT_RETURN_IF_ERROR(walk.Visit(node));
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
