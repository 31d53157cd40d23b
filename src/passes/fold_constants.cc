#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

#include "ops/evaluate.h"
#include "ops/half.h"
#include "ops/infer.h"
#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// A folded result may not grow the engine past this: an Expand of a scalar is cheaper to compute
/// than to load.
constexpr size_t kMaxFoldedBytes = size_t{16} << 20;
/// What all results together may add, beside four times what the model's constants have.
constexpr uint64_t kFoldedAllowance = uint64_t{64} << 20;
/// Some seconds.
constexpr double kMaxSteps = 4e9;

bool IsConstant(const Graph& graph, ValueId id) {
  return id == kNoValue || graph.constant(id) != nullptr;
}

/// Shape and Size of a value whose extents are all fixed need no contents.
bool DependsOnConstantsOnly(const Graph& graph, const Node& node) {
  if (node.op == "Shape" || node.op == "Size") {
    const Value& input = graph.value(node.inputs[0]);
    if (input.dtype != DataType::kUndefined && input.shape.IsStatic()) return true;
  }
  // Quantized weights stay small.
  if (node.op == "DequantizeLinear" && ElementSize(graph.value(node.inputs[0]).dtype) == 1) {
    return false;
  }
  return std::ranges::all_of(node.inputs, [&](ValueId id) { return IsConstant(graph, id); });
}

/// The Casts that make float32 of the weights of a layer of half precision: its other factor was
/// rounded to the same type. Like quantized weights, these stay small.
std::set<const Node*> CastsOfHalfWeights(const Graph& graph) {
  const Uses uses(graph);
  // The half type that the node makes float32 of, if it does.
  const auto half = [&](const Node* node) {
    if (node == nullptr || node->op != "Cast") return DataType::kUndefined;
    const DataType from = graph.value(node->inputs[0]).dtype;
    const bool widens = IsHalf(from) && graph.value(node->outputs[0]).dtype == DataType::kFloat32;
    return widens ? from : DataType::kUndefined;
  };
  std::set<const Node*> casts;
  for (const Node& node : graph.nodes) {
    const DataType type = half(&node);
    if (type == DataType::kUndefined || graph.value(node.outputs[0]).shape.rank() != 2) continue;
    const Node* reader = uses.OnlyReader(node.outputs[0]);
    if (reader == nullptr || reader->inputs.size() < 2 || reader->inputs[1] != node.outputs[0] ||
        half(uses.Producer(reader->inputs[0])) != type) {
      continue;
    }
    const bool scaled = reader->op == "Gemm" && AttributeReader(*reader).Float("alpha", 1.0F) != 1;
    if (reader->op == "MatMul" || reader->op == "FusedGemm" || (reader->op == "Gemm" && !scaled)) {
      casts.insert(&node);
    }
  }
  return casts;
}

/// Elements of all of them, as far as they are known.
double Elements(const Graph& graph, std::span<const ValueId> ids) {
  double total = 0;
  for (ValueId id : ids) {
    if (id == kNoValue) continue;
    if (const auto count = NumElements(graph.value(id).shape); count.ok()) {
      total += static_cast<double>(*count);
    }
  }
  return total;
}

/// At most so many steps take the operators that may take many for an element.
double Steps(const Graph& graph, const Node& node) {
  static constexpr std::string_view kReadManyForOne[] = {
      "Attention", "AveragePool", "Conv", "GRU",  "LSTM",
      "LpPool",    "MaxPool",     "RNN",  "TopK", "TreeEnsemble"};
  const std::span<const ValueId> inputs = node.inputs;
  const double outputs = Elements(graph, node.outputs);
  if (node.op == "MatMul" || node.op == "Gemm" || node.op == "FusedGemm") {
    // MK, KN and MN elements: MKN products.
    return std::sqrt(Elements(graph, inputs.subspan(0, 1)) * Elements(graph, inputs.subspan(1, 1)) *
                     outputs);
  }
  if (node.op == "Einsum" && inputs.size() == 2) {
    return Elements(graph, inputs.subspan(0, 1)) * Elements(graph, inputs.subspan(1, 1));
  }
  const bool reads_many = std::ranges::find(kReadManyForOne, node.op) != std::end(kReadManyForOne);
  return reads_many ? Elements(graph, inputs) * outputs : 0;
}

/// Bytes of the node's results; nothing where one is too large, or they take too long to compute.
std::optional<uint64_t> ResultBytes(const Graph& graph, const Node& node) {
  if (Steps(graph, node) > kMaxSteps) return std::nullopt;
  uint64_t total = 0;
  for (ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    const auto bytes = ByteSize(graph.value(id).dtype, graph.value(id).shape);
    if (!bytes.ok() || *bytes > kMaxFoldedBytes) return std::nullopt;
    total += *bytes;
  }
  return total;
}

/// Makes the value a constant.
void SetConstant(Graph& graph, ValueId id, Constant constant) {
  Value& value = graph.value(id);
  value.dtype = constant.dtype;
  value.shape = constant.shape;
  value.constant = std::make_shared<const Constant>(std::move(constant));
}

/// Numbers that follow from extents that are fixed beside others that are not, as a head's width
/// does from a last axis. Such values become constants; true if there is one.
Result<bool> FoldFixedExtents(Graph& graph) {
  Graph copy = graph;  // inference hands out symbols anew
  ShapeInference inference(copy);
  bool changed = false;
  for (Node& node : graph.nodes) {
    VERDICT_RETURN_IF_ERROR(inference.Visit(node));
    const auto is_constant = [&](ValueId id) { return IsConstant(graph, id); };
    if (node.outputs.size() != 1 || std::ranges::all_of(node.inputs, is_constant)) continue;
    const TensorView known = inference.Known(node.outputs[0]);
    if (known.data == nullptr || known.dtype == DataType::kString) continue;
    auto [constant, data] = Constant::Allocate(known.dtype, known.shape);
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(known.dtype, known.shape));
    std::memcpy(data, known.data, bytes);
    SetConstant(graph, node.outputs[0], std::move(constant));
    Drop(node);
    changed = true;
  }
  if (changed) Sweep(graph);
  return changed;
}

Result<bool> Run(Graph& graph) {
  VERDICT_ASSIGN_OR_RETURN(bool changed, FoldFixedExtents(graph));
  std::vector<Node> kept;
  const std::set<const Node*> narrow = CastsOfHalfWeights(graph);
  uint64_t left = kFoldedAllowance + 4 * graph.ConstantBytes();
  for (Node& node : graph.nodes) {
    const auto bytes = DependsOnConstantsOnly(graph, node) && !narrow.contains(&node)
                           ? ResultBytes(graph, node)
                           : std::nullopt;
    if (!bytes || *bytes > left) {
      kept.push_back(std::move(node));
      continue;
    }
    left -= *bytes;
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) {
      if (id == kNoValue) {
        inputs.emplace_back();
      } else if (const Constant* constant = graph.constant(id)) {
        inputs.push_back(constant->view());
      } else {
        inputs.push_back({graph.value(id).dtype, graph.value(id).shape, nullptr});
      }
    }
    VERDICT_ASSIGN_OR_RETURN(auto results, EvaluateNode(node, inputs));
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      SetConstant(graph, node.outputs[i], std::move(results[i]));
    }
    changed = true;
  }
  graph.nodes = std::move(kept);
  return changed;
}

}  // namespace

const Pass kFoldConstants = {.name = "fold_constants",
                             .summary = "compute at build time what depends on constants only",
                             .run = Run};

}  // namespace verdict
