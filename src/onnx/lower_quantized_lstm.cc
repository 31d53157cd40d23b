#include <algorithm>

#include "onnx/opset_table.h"
#include "onnx/quantization.h"

namespace verdict {
namespace {

// Inputs of com.microsoft's DynamicQuantizeLSTM; the first eight are those of LSTM.
enum Input : size_t { kX, kW, kR, kB, kSequenceLens, kInitialH, kInitialC, kP, kNumLstmInputs };
constexpr size_t kWScale = 8;
constexpr size_t kWZeroPoint = 9;
constexpr size_t kRScale = 10;
constexpr size_t kRZeroPoint = 11;

/// [directions, K, rows] bytes as [directions * rows, K].
Constant RowsFirst(const Constant& weights) {
  const Dim directions = weights.shape[0];
  const Dim k = weights.shape[1];
  const Dim rows = weights.shape[2];
  auto [constant, data] = Constant::Allocate(weights.dtype, {directions * rows, k});
  const auto* from = static_cast<const std::byte*>(weights.data);
  auto* to = static_cast<std::byte*>(data);
  for (Dim d = 0; d < directions; ++d) {
    for (Dim row = 0; row < rows; ++row) {
      for (Dim column = 0; column < k; ++column) {
        *to++ = from[(d * k + column) * rows + row];
      }
    }
  }
  return constant;
}

/// A scale or zero point, of one element, [directions] or [directions, rows], for each of
/// directions * rows rows.
Result<Constant> PerRow(const NodeTranslation& translation, const Constant& given, Dim directions,
                        Dim rows) {
  const bool is_one = given.view().size() == 1;
  const bool per_direction = given.shape == Shape{directions};
  if (!is_one && !per_direction && given.shape != Shape{directions, rows}) {
    return translation.Error("has a scale or zero point of shape " + ToString(given.shape) +
                             "; it must be [" + std::to_string(directions) + "] or [" +
                             std::to_string(directions) + "," + std::to_string(rows) + "]");
  }
  const size_t size = ElementSize(given.dtype);
  auto [constant, data] = Constant::Allocate(given.dtype, {directions * rows});
  const auto* from = static_cast<const std::byte*>(given.data);
  auto* to = static_cast<std::byte*>(data);
  for (Dim i = 0; i < directions * rows; ++i) {
    const Dim source = is_one ? 0 : per_direction ? i / rows : i;
    to = std::copy_n(from + static_cast<size_t>(source) * size, size, to);
  }
  return constant;
}

/// The quantized weights in these inputs, [directions, K, rows], as f32 [directions, rows, K], the
/// order that LSTM wants.
Result<ValueId> Weights(NodeTranslation& translation, size_t index, size_t scale_index,
                        size_t zero_index) {
  const Constant* weights = translation.ConstantInput(index);
  const Constant* scale = translation.ConstantInput(scale_index);
  const Constant* zero_point = translation.ConstantInput(zero_index);
  if (weights == nullptr || scale == nullptr ||
      (translation.has_input(zero_index) && zero_point == nullptr)) {
    return translation.Unsupported("is supported with constant weights, scales and zero points");
  }
  VERDICT_RETURN_IF_ERROR(RequireByte(translation, "a weight", weights->dtype));
  if (weights->shape.rank() != 3 || weights->view().size() == 0 ||
      (zero_point != nullptr && zero_point->dtype != weights->dtype)) {
    return translation.Error("needs weights of three dimensions, and zero points of their type");
  }
  const Dim directions = weights->shape[0];
  const Dim rows = weights->shape[2];
  const Dim k = weights->shape[1];
  VERDICT_ASSIGN_OR_RETURN(Constant scales, PerRow(translation, *scale, directions, rows));
  QuantizedTensor tensor{.x = translation.AddConstant("weights", RowsFirst(*weights)),
                         .scale = translation.AddConstant("scales", std::move(scales))};
  if (zero_point != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(Constant zeros, PerRow(translation, *zero_point, directions, rows));
    tensor.zero_point = translation.AddConstant("zero_points", std::move(zeros));
  }
  VERDICT_ASSIGN_OR_RETURN(const ValueId matrix, EmitDequantize(translation, tensor, 0));
  return translation.EmitValue("Reshape",
                               {matrix, translation.AddInts("shape", {directions, rows, k})});
}

}  // namespace

// LSTM with its weights dequantized. Activations stay floats, where ONNX Runtime quantizes them at
// each step: the results differ by what that rounds off, to the better.
Status LowerDynamicQuantizeLstm(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const ValueId w, Weights(translation, kW, kWScale, kWZeroPoint));
  VERDICT_ASSIGN_OR_RETURN(const ValueId r, Weights(translation, kR, kRScale, kRZeroPoint));
  translation.node.op = "LSTM";
  auto& inputs = translation.node.inputs;
  inputs.resize(kNumLstmInputs, kNoValue);
  inputs[kW] = w;
  inputs[kR] = r;
  while (inputs.back() == kNoValue) inputs.pop_back();
  return translation.EmitNode();
}

}  // namespace verdict
