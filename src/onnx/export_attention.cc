#include <cmath>
#include <limits>

#include "onnx/export_table.h"
#include "onnx/proto.h"
#include "onnx/proto_tensor.h"

namespace verdict {
namespace {

enum Input : size_t { kQ, kK, kV, kMask };

constexpr double kHidden = -std::numeric_limits<double>::infinity();

/// An input as [batch, heads, length, size].
std::string Heads(NodeExport& node, size_t input, int64_t num_heads) {
  const std::string x = node.Input(input);
  if (node.input(input).shape.rank() == 4) return x;
  const std::string split =
      node.EmitValue("Reshape", {x, node.AddInts("heads", {0, 0, num_heads, -1})});
  return node.EmitValue("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

/// Whether the mask is what Add would add; else it may have fewer keys, and hides whole rows.
bool IsMaskAsAdd(const NodeExport& node) { return node.reader().Int("mask_as_add", 0) != 0; }

/// What to add to the scores for the mask.
Result<std::string> MaskTerm(NodeExport& node) {
  const Value& mask = node.input(kMask);
  const Shape& k = node.input(kK).shape;
  const Dim keys = k[k.rank() == 4 ? 2 : 1];
  if (!IsMaskAsAdd(node) && mask.shape[mask.shape.rank() - 1] != keys) {
    return node.Unsupported("the mask's last extent must be the number of keys");
  }
  const std::string name = node.Input(kMask);
  if (mask.dtype == node.input(kQ).dtype) return name;
  if (mask.dtype != DataType::kBool) return node.Unsupported("the mask is not of Q's type");
  return node.EmitValue("Where",
                        {name, node.AddNumber("shown", 0), node.AddNumber("hidden", kHidden)});
}

/// -inf above the diagonal of a matrix of the scores' extents, 0 elsewhere.
std::string CausalTerm(NodeExport& node, const std::string& scores) {
  const std::string extents = node.NewName("extents");
  node.Emit("Shape", {scores}, {extents}, {{"start", int64_t{-2}}});
  const std::string hidden = node.NewName("hidden");
  onnx::AttributeProto& value = *node.Emit("ConstantOfShape", {extents}, {hidden}).add_attribute();
  value.set_name("value");
  value.set_type(onnx::AttributeProto::TENSOR);
  const bool is_double = node.input(kQ).dtype == DataType::kFloat64;
  *value.mutable_t() =
      TensorFromConstant("", is_double ? Constant::Of<double>({1}, {{kHidden}})
                                       : Constant::Of<float>({1}, {{static_cast<float>(kHidden)}}));
  const std::string one = node.AddConstant("one", Constant::Of<int64_t>({}, {{int64_t{1}}}));
  return node.EmitValue("Trilu", {hidden, one}, {{"upper", int64_t{1}}});
}

/// The factor of the scores; 0 where it depends on an extent that is not known.
double ScaleOf(const NodeExport& node, int64_t q_heads) {
  if (node.reader().Has("scale")) return node.reader().Float("scale", 0);
  const Shape& q = node.input(kQ).shape;
  const Dim last = q[q.rank() - 1];
  if (IsSymbol(last) || last == 0) return 0;
  const Dim size = q.rank() == 4 ? last : last / q_heads;
  return 1 / std::sqrt(static_cast<double>(size));
}

}  // namespace

// softmax(scale * Q K^T + mask) V for each head, in the order of the reference kernel: softcap,
// then the mask. A row of which everything is masked gives zeros, but with mask_as_add NaN.
Status ExportAttention(NodeExport& node) {
  const int64_t q_heads = node.reader().Int("q_num_heads", 1);
  const int64_t kv_heads = node.reader().Int("kv_num_heads", 1);
  const Shape& q_shape = node.input(kQ).shape;
  const bool in_threes = q_shape.rank() == 3;
  const Dim q_count = in_threes ? q_heads : q_shape[1];
  const Dim kv_count = in_threes ? kv_heads : node.input(kK).shape[1];
  if (q_count != kv_count) {
    return node.Unsupported("key heads that several query heads share have no form in ai.onnx 17");
  }
  const double scale = ScaleOf(node, q_heads);
  if (scale == 0) return node.Unsupported("its head size is not known");

  const std::string q = Heads(node, kQ, q_heads);
  const std::string k = Heads(node, kK, kv_heads);
  const std::string v = Heads(node, kV, kv_heads);
  const std::string turned =
      node.EmitValue("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  std::string scores = node.EmitValue("MatMul", {q, turned});
  scores = node.EmitValue("Mul", {scores, node.AddNumber("scale", scale)});
  if (const float cap = node.reader().Float("softcap", 0); cap > 0) {
    const std::string limit = node.AddNumber("softcap", cap);
    const std::string tanh = node.EmitValue("Tanh", {node.EmitValue("Div", {scores, limit})});
    scores = node.EmitValue("Mul", {tanh, limit});
  }
  if (node.reader().Int("is_causal", 0) != 0) {
    scores = node.EmitValue("Add", {scores, CausalTerm(node, scores)});
  }
  const bool is_masked = node.has_input(kMask);
  if (is_masked) {
    VERDICT_ASSIGN_OR_RETURN(const std::string term, MaskTerm(node));
    scores = node.EmitValue("Add", {scores, term});
  }
  std::string weights = node.EmitValue("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (is_masked && !IsMaskAsAdd(node)) {
    const std::string greatest =
        node.EmitValue("ReduceMax", {scores}, {{"axes", std::vector<int64_t>{-1}}});
    const std::string is_hidden =
        node.EmitValue("Equal", {greatest, node.AddNumber("all_hidden", kHidden)});
    weights = node.EmitValue("Where", {is_hidden, node.AddNumber("zero", 0), weights});
  }
  if (!in_threes) {
    node.EmitOutput("MatMul", {weights, v});
    return OkStatus();
  }
  const std::string sums = node.EmitValue("MatMul", {weights, v});
  const std::string turned_back =
      node.EmitValue("Transpose", {sums}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  node.EmitOutput("Reshape", {turned_back, node.AddInts("joined", {0, 0, -1})});
  return OkStatus();
}

}  // namespace verdict
