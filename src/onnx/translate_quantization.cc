#include "onnx/opset_table.h"
#include "onnx/proto.h"
#include "onnx/quantization.h"
#include "ops/cast.h"

// QuantizeLinear and DequantizeLinear, of ai.onnx (versions 10 to 23) and of com.microsoft.

namespace verdict {
namespace {

/// Takes the attributes that would mean something for other types than ours.
Status TakeUnused(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.RequireInt(
      "block_size", 0, "scales a block are not supported; quantize per tensor or per axis"));
  VERDICT_RETURN_IF_ERROR(translation.Take<int64_t>("saturate").status());  // of 8-bit floats
  return translation.Take<int64_t>("precision").status();  // of the division; ours is f32
}

/// Inputs 0 to 2, with scale and zero point as our operators take them.
Result<QuantizedTensor> TakeInputs(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(QuantizedTensor inputs, QuantizedInput(translation, 0, 1, 2));
  VERDICT_RETURN_IF_ERROR(NormalizeParameters(translation, inputs));
  translation.SetInput(1, inputs.scale);
  if (inputs.zero_point != kNoValue) translation.SetInput(2, inputs.zero_point);
  return inputs;
}

/// A zero for each scale: without a zero point the type would be u8.
Status AddZeroPoint(NodeTranslation& translation, const QuantizedTensor& inputs, DataType type) {
  const Value& scale = translation.value(inputs.scale);
  if (scale.constant == nullptr && scale.shape.rank() != 0) {
    return translation.Unsupported("needs a zero point, since its scale is not a constant");
  }
  translation.SetInput(2, translation.AddConstant("zero_point", Zeros(type, scale.shape)));
  return OkStatus();
}

}  // namespace

Status TranslateQuantizeLinear(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(TakeUnused(translation));
  VERDICT_ASSIGN_OR_RETURN(const int64_t output_type,
                           translation.TakeOr<int64_t>("output_dtype", 0));
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor inputs, TakeInputs(translation));
  const DataType type = translation.value(inputs.x).dtype;
  if (type == DataType::kInt32) {
    VERDICT_ASSIGN_OR_RETURN(
        const ValueId x,
        translation.EmitValue("Cast", {inputs.x}, {{"to", int64_t{onnx::TensorProto::FLOAT}}}));
    translation.SetInput(0, x);
  } else if (type != DataType::kFloat32) {
    return translation.Unsupported("quantizes a tensor of type " + std::string(DataTypeName(type)) +
                                   "; supported is f32: quantize the float32 model");
  }
  const DataType wanted = output_type != 0 ? DataTypeFromOnnx(output_type) : DataType::kUInt8;
  if (inputs.zero_point != kNoValue) {
    const DataType zero_type = translation.value(inputs.zero_point).dtype;
    VERDICT_RETURN_IF_ERROR(RequireByte(translation, "the zero point", zero_type));
    if (output_type != 0 && wanted != zero_type) {
      return translation.Error("'output_dtype' and the zero point's type differ");
    }
  } else if (wanted != DataType::kUInt8) {
    VERDICT_RETURN_IF_ERROR(RequireByte(translation, "'output_dtype'", wanted));
    VERDICT_RETURN_IF_ERROR(AddZeroPoint(translation, inputs, wanted));
  }
  return translation.EmitNode();
}

Status TranslateDequantizeLinear(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(TakeUnused(translation));
  VERDICT_ASSIGN_OR_RETURN(const int64_t output_type,
                           translation.TakeOr<int64_t>("output_dtype", onnx::TensorProto::FLOAT));
  if (output_type != 0 && output_type != onnx::TensorProto::FLOAT) {
    return translation.Unsupported("dequantizes to another type than f32");
  }
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor inputs, TakeInputs(translation));
  const DataType type = translation.value(inputs.x).dtype;
  if (type != DataType::kInt32) {
    VERDICT_RETURN_IF_ERROR(RequireByte(translation, "input 0", type));
  }
  return translation.EmitNode();
}

}  // namespace verdict
