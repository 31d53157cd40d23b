#include <algorithm>

#include "ops/half.h"
#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

struct Linear {
  ValueId x = kNoValue;
  ValueId weights = kNoValue;  // [K, N]
  ValueId bias = kNoValue;     // [N]
};

bool IsF32(const Graph& graph, ValueId id) { return graph.value(id).dtype == DataType::kFloat32; }

/// The DequantizeLinear of a constant that makes `id`, or its Cast from a half type, or null.
const Node* Widened(const Graph& graph, const Uses& uses, ValueId id) {
  const Node* node = uses.Producer(id);
  const bool constant = node != nullptr &&
                        (node->op == "DequantizeLinear" ||
                         (node->op == "Cast" && IsHalf(graph.value(node->inputs[0]).dtype))) &&
                        std::ranges::all_of(node->inputs, [&](ValueId input) {
                          return input == kNoValue || graph.constant(input) != nullptr;
                        });
  return constant ? node : nullptr;
}

/// MatMul(x, W) with a [K, N] matrix that is constant, maybe of a narrower type.
bool MatchMatMul(const Graph& graph, const Uses& uses, const Node& node, Linear& linear) {
  if (node.op != "MatMul") return false;
  const ValueId weights = node.inputs[1];
  if (graph.value(weights).shape.rank() != 2) return false;
  if (graph.constant(weights) == nullptr && Widened(graph, uses, weights) == nullptr) {
    return false;
  }
  if (graph.value(node.inputs[0]).shape.rank() < 2) return false;
  if (!IsF32(graph, weights) || !IsF32(graph, node.inputs[0])) return false;
  linear = {node.inputs[0], weights, kNoValue};
  return true;
}

/// The bias of a Gemm, times beta; nothing if it is none, or not the same for every row.
bool MatchBias(Graph& graph, const Node& node, int64_t n, double beta, Linear& linear) {
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return true;
  auto channels = ChannelConstant(graph, node.inputs[2], n);
  if (!channels) return false;
  for (double& value : *channels) value *= beta;
  linear.bias = AddFloats(graph, graph.value(node.inputs[2]).name, Shape{n}, *channels);
  return true;
}

/// A constant [N, K] the other way round. Element: any type of its elements' size.
template <typename Element>
Constant Transposed(const Constant& constant) {
  const int64_t rows = constant.shape[0], columns = constant.shape[1];
  auto [result, data] = Constant::Allocate(constant.dtype, Shape{columns, rows});
  const auto* from = static_cast<const Element*>(constant.data);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      static_cast<Element*>(data)[column * rows + row] = from[row * columns + column];
    }
  }
  return std::move(result);
}

/// Gemm(x, DequantizeLinear(W), c), or with a Cast of W: where W is transposed, that node gets it
/// the right way round.
bool MatchGemmOfNarrow(Graph& graph, const Uses& uses, const Node& node, Linear& linear) {
  const AttributeReader attributes(node);
  if (node.op != "Gemm" || Widened(graph, uses, node.inputs[1]) == nullptr) return false;
  if (attributes.Float("alpha", 1.0F) != 1.0F || attributes.Int("transA", 0) != 0) return false;
  const ValueId weights = node.inputs[1];
  const bool transposed = attributes.Int("transB", 0) != 0;
  Node& widen = graph.nodes[static_cast<size_t>(uses.ProducerIndex(weights))];
  const Constant* values = graph.constant(widen.inputs[0]);
  const size_t size = ElementSize(values->dtype);
  if (values->shape.rank() != 2 || !IsF32(graph, weights)) return false;
  if (size != 1 && !IsHalf(values->dtype)) return false;
  if (transposed && !uses.HasSingleUse(weights)) return false;
  const int64_t n = values->shape[transposed ? 0 : 1];
  if (!MatchBias(graph, node, n, static_cast<double>(attributes.Float("beta", 1.0F)), linear)) {
    return false;
  }
  linear.x = node.inputs[0];
  linear.weights = weights;
  if (transposed) {
    const std::string name = graph.value(widen.inputs[0]).name;
    Constant turned = size == 1 ? Transposed<uint8_t>(*values) : Transposed<uint16_t>(*values);
    graph.value(weights).shape = turned.shape;
    widen.inputs[0] = graph.AddConstant(name, std::move(turned));
    if (widen.op == "DequantizeLinear") {
      const int64_t axis = AttributeReader(widen).Int("axis", 1);
      widen.attributes["axis"] = axis < 0 ? -3 - axis : 1 - axis;
    }
  }
  return true;
}

/// Gemm(x, W, c) with constant W and a c that is the same for every row. alpha, beta and transB go
/// into the constants.
bool MatchGemm(Graph& graph, const Node& node, Linear& linear) {
  if (node.op != "Gemm" || !IsF32(graph, node.inputs[0]) || !IsF32(graph, node.inputs[1])) {
    return false;
  }
  const AttributeReader attributes(node);
  const auto weights = FloatConstant(graph, node.inputs[1]);
  if (!weights || attributes.Int("transA", 0) != 0) return false;
  const bool transposed = attributes.Int("transB", 0) != 0;
  const double alpha = attributes.Float("alpha", 1.0F);
  const double beta = attributes.Float("beta", 1.0F);
  const Shape& shape = graph.value(node.inputs[1]).shape;
  const int64_t k = shape[transposed ? 1 : 0];
  const int64_t n = shape[transposed ? 0 : 1];
  if (!MatchBias(graph, node, n, beta, linear)) return false;
  linear.x = node.inputs[0];
  linear.weights = node.inputs[1];
  if (transposed || alpha != 1.0) {
    std::vector<double> matrix(weights->size());
    for (int64_t row = 0; row < k; ++row) {
      for (int64_t column = 0; column < n; ++column) {
        const int64_t from = transposed ? column * k + row : row * n + column;
        matrix[static_cast<size_t>(row * n + column)] =
            alpha * (*weights)[static_cast<size_t>(from)];
      }
    }
    linear.weights = AddFloats(graph, graph.value(node.inputs[1]).name, Shape{k, n}, matrix);
  }
  return true;
}

void MakeFusedGemm(Node& node, const Linear& linear) {
  node.op = "FusedGemm";
  node.inputs = {linear.x, linear.weights};
  if (linear.bias != kNoValue) node.inputs.push_back(linear.bias);
  node.attributes.clear();
}

/// Add(FusedGemm(x, W), bias): the sum goes into the product, and the Add's output becomes its
/// output.
bool FuseAdd(Graph& graph, Uses& uses, Node& add) {
  if (add.op != "Add") return false;
  for (size_t side = 0; side < 2; ++side) {
    const ValueId product = add.inputs[side];
    const ValueId addend = add.inputs[1 - side];
    const int32_t producer = uses.ProducerIndex(product);
    if (producer < 0 || !uses.HasSingleUse(product)) continue;
    Node& gemm = graph.nodes[static_cast<size_t>(producer)];
    if (gemm.op != "FusedGemm" || gemm.inputs.size() > 2 ||
        !AttributeReader(gemm).String("activation", "").empty()) {
      continue;
    }
    const Shape& weights = graph.value(gemm.inputs[1]).shape;
    const auto bias = ChannelConstant(graph, addend, weights[1]);
    // A wider addend would broadcast the product to more rows.
    if (!bias || graph.value(addend).shape.rank() > graph.value(product).shape.rank()) continue;
    const std::string name = graph.value(addend).name;
    const ValueId sum = add.outputs[0];
    const ValueId bias_id = AddFloats(graph, name, Shape{weights[1]}, *bias);
    gemm.inputs.push_back(bias_id);
    gemm.outputs[0] = sum;
    uses.SetProducer(sum, producer);
    Drop(add);
    return true;
  }
  return false;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  const Uses before(graph);
  for (Node& node : graph.nodes) {
    Linear linear;
    if (!MatchMatMul(graph, before, node, linear) && !MatchGemm(graph, node, linear) &&
        !MatchGemmOfNarrow(graph, before, node, linear)) {
      continue;
    }
    MakeFusedGemm(node, linear);
    changed = true;
  }
  Uses uses(graph);
  for (Node& node : graph.nodes) changed = FuseAdd(graph, uses, node) || changed;
  Sweep(graph);
  return changed;
}

}  // namespace

const Pass kFuseGemmBias = {
    .name = "fuse_gemm_bias",
    .summary = "Gemm or MatMul with constant weights, and a bias added to it, become one FusedGemm",
    .run = Run};

}  // namespace verdict
