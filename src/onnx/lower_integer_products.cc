#include <algorithm>
#include <cstdlib>

#include "onnx/opset_table.h"
#include "onnx/proto.h"
#include "onnx/quantization.h"

// Products of integers and the quantization of activations at run time, as ONNX Runtime's
// quantize_dynamic writes them.

namespace verdict {
namespace {

/// Sums of integers are exact in f32 as long as they stay below.
constexpr int64_t kExactInFloat = int64_t{1} << 24;
constexpr int64_t kMaxByteDifference = 255;

template <typename F>
bool WithBytes(const Constant& constant, F&& function) {
  if (constant.dtype == DataType::kInt8) {
    function(constant.view().as<const int8_t>());
  } else if (constant.dtype == DataType::kUInt8) {
    function(constant.view().as<const uint8_t>());
  } else {
    return false;
  }
  return true;
}

/// The greatest sum over |w - zero point| that one output channel has: an element's channel is
/// (index / inner) % channels. -1 where the zero point does not fit.
int64_t GreatestSum(const Constant& weights, const Constant* zero_point, size_t channels,
                    size_t inner) {
  std::vector<int64_t> offsets(channels, 0);
  if (zero_point != nullptr) {
    const bool known = WithBytes(*zero_point, [&](auto values) {
      for (size_t c = 0; c < channels && !values.empty(); ++c) {
        offsets[c] = values[values.size() == channels ? c : 0];
      }
    });
    if (!known) return -1;
  }
  std::vector<int64_t> sums(channels, 0);
  const bool known = WithBytes(weights, [&](auto values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t channel = i / inner % channels;
      sums[channel] += std::abs(int64_t{values[i]} - offsets[channel]);
    }
  });
  if (!known) return -1;
  return sums.empty() ? 0 : *std::ranges::max_element(sums);
}

/// An input and its zero point, of i8 or u8, as f32 integers.
Result<ValueId> AsFloatIntegers(NodeTranslation& translation, size_t x, size_t zero_point,
                                int64_t axis) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(x));
  VERDICT_RETURN_IF_ERROR(RequireByte(translation, "input " + std::to_string(x), input->dtype));
  QuantizedTensor tensor{.x = translation.node.inputs[x]};
  Shape shape;
  if (translation.has_input(zero_point)) {
    tensor.zero_point = translation.node.inputs[zero_point];
    const Value& zeros = translation.value(tensor.zero_point);
    for (Dim dim : zeros.shape.dims()) {
      if (dim != 1) shape.push_back(dim);
    }
    if (shape.rank() > 1 || (shape.rank() == 1 && zeros.constant == nullptr)) {
      return translation.Unsupported("has zero points of shape " + ToString(zeros.shape) +
                                     "; several must be constants, along one axis");
    }
  }
  const auto count = static_cast<size_t>(shape.rank() == 0 ? 1 : shape[0]);
  tensor.scale =
      translation.AddConstant("one", Constant::Of<float>(shape, std::vector<float>(count, 1.0F)));
  return EmitDequantize(translation, tensor, axis);
}

/// OP(a, w), of integers, as the node's output of i32. is_exact: no sum leaves f32's integers.
Status EmitIntegerProduct(NodeTranslation& translation, const char* op, ValueId a, ValueId w,
                          bool is_exact) {
  if (!is_exact) {
    const Attributes to_double = {{"to", int64_t{onnx::TensorProto::DOUBLE}}};
    VERDICT_ASSIGN_OR_RETURN(a, translation.EmitValue("Cast", {a}, to_double));
    VERDICT_ASSIGN_OR_RETURN(w, translation.EmitValue("Cast", {w}, to_double));
  }
  VERDICT_ASSIGN_OR_RETURN(
      const ValueId y, translation.EmitValue(op, {a, w}, std::move(translation.node.attributes)));
  return translation.Emit({.op = "Cast",
                           .inputs = {y},
                           .outputs = {translation.node.outputs[0]},
                           .attributes = {{"to", int64_t{onnx::TensorProto::INT32}}}});
}

bool StaysExact(int64_t greatest_sum) {
  return greatest_sum >= 0 && greatest_sum < kExactInFloat / kMaxByteDifference;
}

/// A known number of products for each sum of MatMul; -1 where it varies.
int64_t ProductsOf(const Shape& b) {
  if (b.rank() == 0) return -1;
  const Dim k = b[b.rank() == 1 ? 0 : b.rank() - 2];
  return IsSymbol(k) ? -1 : k;
}

/// The product, plus the bias in input `index` if there is one, to the node's output 0.
Status EmitBiased(NodeTranslation& translation, ValueId a, ValueId b, size_t bias) {
  if (!translation.has_input(bias)) {
    return translation.Emit(
        {.op = "MatMul", .inputs = {a, b}, .outputs = translation.node.outputs});
  }
  VERDICT_ASSIGN_OR_RETURN(const ValueId product, translation.EmitValue("MatMul", {a, b}));
  return translation.Emit({.op = "Add",
                           .inputs = {product, translation.node.inputs[bias]},
                           .outputs = translation.node.outputs});
}

}  // namespace

Status LowerDynamicQuantizeLinear(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.Input(0).status());
  const auto output = [&](size_t index) {
    return translation.has_output(index) ? translation.node.outputs[index] : kNoValue;
  };
  return EmitDynamicQuantize(translation, translation.node.inputs[0],
                             {output(0), output(1), output(2)})
      .status();
}

// (A - a_zero_point)(B - b_zero_point) in i32, computed in floats: in f32 where that is exact (the
// weights' sums tell), else in f64.
Status LowerMatMulInteger(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const ValueId a, AsFloatIntegers(translation, 0, 2, -2));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b, AsFloatIntegers(translation, 1, 3, -1));
  VERDICT_ASSIGN_OR_RETURN(const Value* weights, translation.Input(1));
  const int64_t products = ProductsOf(weights->shape);
  int64_t sum = products < 0 || products > kExactInFloat ? -1 : products * kMaxByteDifference;
  const Constant* zero_point = translation.ConstantInput(3);
  const bool known_zero = !translation.has_input(3) || zero_point != nullptr;
  if (weights->constant != nullptr && known_zero && weights->shape.rank() == 2 &&
      weights->constant->view().size() > 0) {
    sum = GreatestSum(*weights->constant, zero_point, static_cast<size_t>(weights->shape[1]), 1);
  }
  return EmitIntegerProduct(translation, "MatMul", a, b, StaysExact(sum));
}

Status LowerConvInteger(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const ValueId x, AsFloatIntegers(translation, 0, 2, 1));
  VERDICT_ASSIGN_OR_RETURN(const ValueId w, AsFloatIntegers(translation, 1, 3, 0));
  VERDICT_ASSIGN_OR_RETURN(const Value* weights, translation.Input(1));
  const Constant* zero_point = translation.ConstantInput(3);
  const bool known_zero = !translation.has_input(3) || zero_point != nullptr;
  int64_t sum = -1;
  if (weights->constant != nullptr && known_zero && weights->shape.rank() > 1 &&
      weights->constant->view().size() > 0) {
    const auto channels = static_cast<size_t>(weights->shape[0]);
    const auto size = static_cast<size_t>(weights->constant->view().size());
    sum = GreatestSum(*weights->constant, zero_point, channels, size / channels);
  }
  return EmitIntegerProduct(translation, "Conv", x, w, StaysExact(sum));
}

// com.microsoft: A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
Status LowerMatMulIntegerToFloat(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor a, QuantizedInput(translation, 0, 2, 4));
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor b, QuantizedInput(translation, 1, 3, 5));
  // ONNX Runtime's documents give A a scale for each column; its kernel takes one only.
  VERDICT_ASSIGN_OR_RETURN(const ValueId a_float, EmitDequantize(translation, a));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b_float, EmitDequantize(translation, b, -1));
  return EmitBiased(translation, a_float, b_float, 6);
}

// com.microsoft: A, of f32; B, b_scale, b_zero_point, bias.
Status LowerDynamicQuantizeMatMul(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.Input(0).status());
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor b, QuantizedInput(translation, 1, 2, 3));
  VERDICT_ASSIGN_OR_RETURN(const QuantizedTensor a,
                           EmitDynamicQuantize(translation, translation.node.inputs[0]));
  VERDICT_ASSIGN_OR_RETURN(const ValueId a_float, EmitDequantize(translation, a));
  VERDICT_ASSIGN_OR_RETURN(const ValueId b_float, EmitDequantize(translation, b, -1));
  return EmitBiased(translation, a_float, b_float, 4);
}

}  // namespace verdict
