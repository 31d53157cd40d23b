#include "onnx/quantization.h"

#include <algorithm>

#include "onnx/proto.h"

namespace verdict {
namespace {

/// The list behind a scale or zero point of several dimensions, of which one may differ from 1.
Result<ValueId> AsList(NodeTranslation& translation, ValueId id) {
  const Value& value = translation.value(id);
  if (value.shape.rank() <= 1) return id;
  Shape shape;
  for (Dim dim : value.shape.dims()) {
    if (dim != 1) shape.push_back(dim);
  }
  if (shape.rank() > 1) {
    return translation.Unsupported(
        "has a scale or zero point of shape " + ToString(value.shape) +
        "; quantize with one scale for all, or one for each slice along one axis");
  }
  if (value.constant != nullptr) {
    Constant list = *value.constant;
    list.shape = shape;
    return translation.AddConstant("list", std::move(list));
  }
  const ValueId target =
      shape.rank() == 0 ? translation.AddInts("shape", {}) : translation.AddInts("shape", {-1});
  return translation.EmitValue("Reshape", {id, target});
}

bool IsOne(const Shape& shape) { return shape.rank() == 0 || shape == Shape{1}; }

Status CheckOneScale(const NodeTranslation& translation, const QuantizedTensor& tensor) {
  if (IsOne(translation.value(tensor.scale).shape)) return OkStatus();
  return translation.Unsupported("has several scales for a tensor that may have one only");
}

/// As EmitValue, to `output` where that is set.
Result<ValueId> EmitTo(NodeTranslation& translation, ValueId output, std::string op,
                       std::vector<ValueId> inputs, Attributes attributes = {}) {
  if (output == kNoValue) {
    return translation.EmitValue(std::move(op), std::move(inputs), std::move(attributes));
  }
  VERDICT_RETURN_IF_ERROR(translation.Emit({.op = std::move(op),
                                            .inputs = std::move(inputs),
                                            .outputs = {output},
                                            .attributes = std::move(attributes)}));
  return output;
}

}  // namespace

Result<QuantizedTensor> QuantizedInput(const NodeTranslation& translation, size_t x, size_t scale,
                                       size_t zero_point) {
  VERDICT_RETURN_IF_ERROR(translation.Input(x).status());
  VERDICT_RETURN_IF_ERROR(translation.Input(scale).status());
  const auto& inputs = translation.node.inputs;
  return QuantizedTensor{inputs[x], inputs[scale],
                         translation.has_input(zero_point) ? inputs[zero_point] : kNoValue};
}

Status RequireByte(const NodeTranslation& translation, std::string_view what, DataType type) {
  if (type == DataType::kInt8 || type == DataType::kUInt8) return OkStatus();
  return translation.Unsupported(std::string(what) + " is of type " +
                                 std::string(DataTypeName(type)) +
                                 "; supported is quantization to i8 and u8");
}

Status NormalizeParameters(NodeTranslation& translation, QuantizedTensor& tensor) {
  const DataType type = translation.value(tensor.scale).dtype;
  if (type != DataType::kFloat32) {
    return translation.Unsupported("has a scale of type " + std::string(DataTypeName(type)) +
                                   "; supported are scales of f32: quantize the float32 model");
  }
  VERDICT_ASSIGN_OR_RETURN(tensor.scale, AsList(translation, tensor.scale));
  if (tensor.zero_point == kNoValue) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(tensor.zero_point, AsList(translation, tensor.zero_point));
  const Shape scale = translation.value(tensor.scale).shape;
  const Value& zero_point = translation.value(tensor.zero_point);
  if (!IsOne(scale) || !IsOne(zero_point.shape) || scale == zero_point.shape) return OkStatus();
  if (zero_point.constant != nullptr) {
    Constant reshaped = *zero_point.constant;
    reshaped.shape = scale;
    tensor.zero_point = translation.AddConstant("zero_point", std::move(reshaped));
    return OkStatus();
  }
  const ValueId shape = translation.AddInts("shape", {scale.dims().begin(), scale.dims().end()});
  VERDICT_ASSIGN_OR_RETURN(tensor.zero_point,
                           translation.EmitValue("Reshape", {tensor.zero_point, shape}));
  return OkStatus();
}

Constant Zeros(DataType type, const Shape& shape) {
  auto [zeros, data] = Constant::Allocate(type, shape);
  std::fill_n(static_cast<std::byte*>(data), ByteSize(type, shape).value(), std::byte{0});
  return zeros;
}

Result<ValueId> EmitDequantize(NodeTranslation& translation, QuantizedTensor tensor,
                               std::optional<int64_t> axis) {
  const DataType type = translation.value(tensor.x).dtype;
  if (type != DataType::kInt32) {
    VERDICT_RETURN_IF_ERROR(RequireByte(translation, "a quantized input", type));
  }
  VERDICT_RETURN_IF_ERROR(NormalizeParameters(translation, tensor));
  if (!axis.has_value()) VERDICT_RETURN_IF_ERROR(CheckOneScale(translation, tensor));
  std::vector<ValueId> inputs = {tensor.x, tensor.scale};
  if (tensor.zero_point != kNoValue) inputs.push_back(tensor.zero_point);
  Attributes attributes;
  if (!IsOne(translation.value(tensor.scale).shape)) attributes["axis"] = *axis;
  return translation.EmitValue("DequantizeLinear", std::move(inputs), std::move(attributes));
}

Status EmitQuantizedOutput(NodeTranslation& translation, ValueId y, QuantizedTensor parameters,
                           DataType type) {
  VERDICT_RETURN_IF_ERROR(NormalizeParameters(translation, parameters));
  if (parameters.zero_point != kNoValue) {
    type = translation.value(parameters.zero_point).dtype;
  }
  VERDICT_RETURN_IF_ERROR(RequireByte(translation, "the quantized output", type));
  VERDICT_RETURN_IF_ERROR(CheckOneScale(translation, parameters));
  if (parameters.zero_point == kNoValue) {
    parameters.zero_point = translation.AddConstant(
        "zero_point", Zeros(type, translation.value(parameters.scale).shape));
  }
  return translation.Emit({.op = "QuantizeLinear",
                           .inputs = {y, parameters.scale, parameters.zero_point},
                           .outputs = {translation.node.outputs[0]}});
}

Result<QuantizedTensor> EmitDynamicQuantize(NodeTranslation& translation, ValueId x,
                                            const QuantizedTensor& outputs) {
  const auto number = [&](std::string_view name, float value) {
    return translation.AddConstant(name, Constant::Of<float>({}, {{value}}));
  };
  const auto emit = [&](std::string op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return translation.EmitValue(std::move(op), std::move(inputs), std::move(attributes));
  };
  const ValueId zero = number("zero", 0);
  const ValueId levels = number("levels", 255);
  const Attributes all = {{"keepdims", int64_t{0}}};
  VERDICT_ASSIGN_OR_RETURN(const ValueId least, emit("ReduceMin", {x}, all));
  VERDICT_ASSIGN_OR_RETURN(const ValueId greatest, emit("ReduceMax", {x}, all));
  VERDICT_ASSIGN_OR_RETURN(const ValueId min, emit("Min", {least, zero}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId max, emit("Max", {greatest, zero}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId range, emit("Sub", {max, min}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId is_flat, emit("Equal", {range, zero}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId step, emit("Div", {range, levels}));
  QuantizedTensor quantized;
  VERDICT_ASSIGN_OR_RETURN(quantized.scale, EmitTo(translation, outputs.scale, "Where",
                                                   {is_flat, number("one", 1), step}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId scaled, emit("Div", {min, quantized.scale}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId offset, emit("Sub", {zero, scaled}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId clipped, emit("Clip", {offset, zero, levels}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId rounded, emit("Round", {clipped}));
  VERDICT_ASSIGN_OR_RETURN(quantized.zero_point,
                           EmitTo(translation, outputs.zero_point, "Cast", {rounded},
                                  {{"to", int64_t{onnx::TensorProto::UINT8}}}));
  VERDICT_ASSIGN_OR_RETURN(quantized.x, EmitTo(translation, outputs.x, "QuantizeLinear",
                                               {x, quantized.scale, quantized.zero_point}));
  return quantized;
}

}  // namespace verdict
