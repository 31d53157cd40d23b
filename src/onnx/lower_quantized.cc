#include "onnx/opset_table.h"
#include "onnx/quantization.h"

// Operators of the QOperator form, whose inputs and output are quantized: ONNX's QLinearMatMul and
// QLinearConv, and com.microsoft's, which ONNX Runtime's quantizer writes. Each becomes
// DequantizeLinear, the operator of floats, QuantizeLinear. ONNX Runtime adds integers where these
// add floats, so that a result near the middle of two steps may round to the other one.
// Source: docs/ContribOperators.md of ONNX Runtime.

namespace verdict {
namespace {

/// `y` as the node's output, quantized with the scale and zero point in these inputs.
Status Quantize(NodeTranslation& translation, ValueId y, size_t scale, size_t zero_point,
                DataType type) {
  VERDICT_RETURN_IF_ERROR(translation.Input(scale).status());
  const auto& inputs = translation.node.inputs;
  return EmitQuantizedOutput(
      translation, y,
      {.scale = inputs[scale],
       .zero_point = translation.has_input(zero_point) ? inputs[zero_point] : kNoValue},
      type);
}

Result<DataType> InputType(const NodeTranslation& translation, size_t index) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(index));
  return input->dtype;
}

/// Input `x`, with its scale and zero point in the two after it, as f32.
Result<ValueId> Dequantize(NodeTranslation& translation, size_t x,
                           std::optional<int64_t> axis = std::nullopt) {
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor tensor,
                           QuantizedInput(translation, x, x + 1, x + 2));
  return EmitDequantize(translation, tensor, axis);
}

/// The product of two scales and a factor: the scale of a bias, a constant where both are.
Result<ValueId> ScaleProduct(NodeTranslation& translation, size_t a, size_t b, float factor) {
  const auto number = [&](float value) {
    return translation.AddConstant("factor", Constant::Of<float>({}, {{value}}));
  };
  VERDICT_RETURN_IF_ERROR(translation.Input(a).status());
  VERDICT_RETURN_IF_ERROR(translation.Input(b).status());
  const ValueId a_id = translation.node.inputs[a];
  const ValueId b_id = translation.node.inputs[b];
  VERDICT_ASSIGN_OR_RETURN(ValueId product, translation.EmitValue("Mul", {a_id, b_id}));
  if (factor == 1) return product;
  return translation.EmitValue("Mul", {product, number(factor)});
}

/// OP(A, B) of com.microsoft's QLinearAdd and QLinearMul.
Status LowerBinary(NodeTranslation& translation, const char* op) {
  VERDICT_ASSIGN_OR_RETURN(const DataType type, InputType(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId a, Dequantize(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b, Dequantize(translation, 3));
  VERDICT_ASSIGN_OR_RETURN(const ValueId y, translation.EmitValue(op, {a, b}));
  return Quantize(translation, y, 6, 7, type);
}

/// OP(X), with the node's attributes.
Status LowerUnary(NodeTranslation& translation, const char* op) {
  VERDICT_ASSIGN_OR_RETURN(const DataType type, InputType(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, Dequantize(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId y,
                           translation.EmitValue(op, {x}, std::move(translation.node.attributes)));
  return Quantize(translation, y, 3, 4, type);
}

}  // namespace

// Scales: one, or one for each row of A and each column of B.
Status LowerQLinearMatMul(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const DataType type, InputType(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId a, Dequantize(translation, 0, -2));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b, Dequantize(translation, 3, -1));
  VERDICT_ASSIGN_OR_RETURN(const ValueId y, translation.EmitValue("MatMul", {a, b}));
  return Quantize(translation, y, 6, 7, type);
}

// Weights may have a scale for each output channel. The bias, of i32, has the scale x_scale *
// w_scale and no zero point.
Status LowerQLinearConv(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.RequireInt(
      "channels_last", 0, "only channels before positions (NCHW) are supported"));
  VERDICT_ASSIGN_OR_RETURN(const DataType type, InputType(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, Dequantize(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId w, Dequantize(translation, 3, 0));
  std::vector<ValueId> inputs = {x, w};
  if (translation.has_input(8)) {
    VERDICT_ASSIGN_OR_RETURN(const ValueId scale, ScaleProduct(translation, 1, 4, 1));
    VERDICT_ASSIGN_OR_RETURN(
        const ValueId bias,
        EmitDequantize(translation, {.x = translation.node.inputs[8], .scale = scale}, 0));
    inputs.push_back(bias);
  }
  VERDICT_ASSIGN_OR_RETURN(
      const ValueId y,
      translation.EmitValue("Conv", std::move(inputs), std::move(translation.node.attributes)));
  return Quantize(translation, y, 6, 7, type);
}

// alpha * A' * B' + C, where C, of i32, has the scale alpha * a_scale * b_scale and no zero point.
// Without y_scale the result is f32.
Status LowerQGemm(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const DataType type, InputType(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const float alpha, translation.TakeOr("alpha", 1.0F));
  VERDICT_ASSIGN_OR_RETURN(const int64_t trans_a, translation.TakeOr<int64_t>("transA", 0));
  VERDICT_ASSIGN_OR_RETURN(const int64_t trans_b, translation.TakeOr<int64_t>("transB", 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId a, Dequantize(translation, 0));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b, Dequantize(translation, 3, trans_b != 0 ? 0 : 1));
  std::vector<ValueId> inputs = {a, b};
  if (translation.has_input(6)) {
    const ValueId c = translation.node.inputs[6];
    VERDICT_ASSIGN_OR_RETURN(const ValueId scale, ScaleProduct(translation, 1, 4, alpha));
    VERDICT_ASSIGN_OR_RETURN(const ValueId bias,
                             EmitDequantize(translation, {.x = c, .scale = scale}, -1));
    inputs.push_back(bias);
  }
  const Attributes attributes = {{"alpha", alpha}, {"transA", trans_a}, {"transB", trans_b}};
  if (!translation.has_input(7)) {
    return translation.Emit({.op = "Gemm",
                             .inputs = std::move(inputs),
                             .outputs = translation.node.outputs,
                             .attributes = attributes});
  }
  VERDICT_ASSIGN_OR_RETURN(const ValueId y,
                           translation.EmitValue("Gemm", std::move(inputs), attributes));
  return Quantize(translation, y, 7, 8, type);
}

Status LowerQLinearAdd(NodeTranslation& translation) { return LowerBinary(translation, "Add"); }
Status LowerQLinearMul(NodeTranslation& translation) { return LowerBinary(translation, "Mul"); }

Status LowerQLinearSigmoid(NodeTranslation& translation) {
  return LowerUnary(translation, "Sigmoid");
}
Status LowerQLinearLeakyRelu(NodeTranslation& translation) {
  return LowerUnary(translation, "LeakyRelu");
}

// Before operator set 13 all axes from `axis` on count, since then that one alone.
Status LowerQLinearSoftmax(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const auto opset, translation.Take<int64_t>("opset"));
  if (!opset.has_value()) return translation.Error("the attribute 'opset' is missing");
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const int64_t rank = input->shape.rank();
  VERDICT_ASSIGN_OR_RETURN(const int64_t axis, translation.TakeOr<int64_t>("axis", -1));
  if (*opset < 13 && axis != -1 && axis != rank - 1) {
    return translation.Unsupported(
        "the softmax of operator set 12 and older is supported along the last axis; quantize a "
        "model of operator set 13 or newer");
  }
  translation.node.attributes["axis"] = axis;
  return LowerUnary(translation, "Softmax");
}

// Inputs: the output's scale and zero point, then three for each tensor.
Status LowerQLinearConcat(NodeTranslation& translation) {
  std::vector<ValueId> parts;
  DataType type = DataType::kUndefined;
  for (size_t i = 2; i < translation.node.inputs.size(); i += 3) {
    VERDICT_ASSIGN_OR_RETURN(type, InputType(translation, i));
    VERDICT_ASSIGN_OR_RETURN(const ValueId part, Dequantize(translation, i));
    parts.push_back(part);
  }
  if (parts.empty()) return translation.Error("has no tensor to join");
  VERDICT_ASSIGN_OR_RETURN(
      const ValueId y,
      translation.EmitValue("Concat", std::move(parts), std::move(translation.node.attributes)));
  return Quantize(translation, y, 0, 1, type);
}

}  // namespace verdict
