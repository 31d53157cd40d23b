#pragma once

#include <optional>

#include "onnx/node_translation.h"

// Quantized operators become QuantizeLinear and DequantizeLinear around operators of floats: the
// graph knows no other form of quantization.

namespace verdict {

/// A quantized tensor: values of the graph. scale and zero_point: one element, or one for each
/// slice along an axis.
struct QuantizedTensor {
  ValueId x = kNoValue;
  ValueId scale = kNoValue;
  ValueId zero_point = kNoValue;  // or left out: 0
};

/// The quantized tensor in these inputs of the node. x may not be left out.
/// Errors: kInvalidArgument where it or its scale is missing.
Result<QuantizedTensor> QuantizedInput(const NodeTranslation& translation, size_t x, size_t scale,
                                       size_t zero_point);

/// Errors, naming what it is: kUnimplemented unless `type` is i8 or u8.
Status RequireByte(const NodeTranslation& translation, std::string_view what, DataType type);

/// A scale and its zero point as QuantizeLinear takes them: a list of more dimensions, of which all
/// but one are 1, becomes one of one; the zero point of one scale gets that scale's shape.
/// Errors: kUnimplemented for scales that are not f32, and for scales along several axes.
Status NormalizeParameters(NodeTranslation& translation, QuantizedTensor& tensor);

/// A zero of an integer type for each element of `shape`, which is static and small.
Constant Zeros(DataType type, const Shape& shape);

/// The tensor as f32. axis: that of scales of which there are several, negative from the end;
/// without it one scale must be for all. Errors: those of NormalizeParameters; kUnimplemented for
/// several scales without an axis, and unless the tensor is i8, u8 or i32.
Result<ValueId> EmitDequantize(NodeTranslation& translation, QuantizedTensor tensor,
                               std::optional<int64_t> axis = std::nullopt);

/// Quantizes `y` to the node's output 0. parameters: x is ignored. type: of the output, where the
/// zero point, left out, does not tell it. Errors: as EmitDequantize without an axis.
Status EmitQuantizedOutput(NodeTranslation& translation, ValueId y, QuantizedTensor parameters,
                           DataType type);

/// `x` quantized to u8 with a scale and a zero point that follow from its least and greatest
/// element, as the body of ONNX's function DynamicQuantizeLinear computes them; the scale of a
/// tensor of zeros is 1, as in ONNX Runtime. outputs: where the tensor, the scale and the zero
/// point go; kNoValue: to new values.
Result<QuantizedTensor> EmitDynamicQuantize(NodeTranslation& translation, ValueId x,
                                            const QuantizedTensor& outputs = {});

}  // namespace verdict
