#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::UnaryOperation;

bool IsInt(DataType dtype) { return dtype == DataType::kInt32 || dtype == DataType::kInt64; }

bool IsFloat(DataType dtype) {
  return dtype == DataType::kFloat32 || dtype == DataType::kFloat16 || dtype == DataType::kBFloat16;
}

Status Supports(const Graph& graph, const Node& node) {
  const DataType from = InputType(graph, node, 0);
  const DataType to = graph.value(node.outputs[0]).dtype;
  if (from == to) return OkStatus();
  if (from == DataType::kInt8 || to == DataType::kInt8) {
    return Decline("i8 is only supported between quantizing layers");
  }
  if (IsFloat(from) && to == DataType::kInt64 && kIndexType == Type::kINT32) {
    return Decline("a cast of floats to i64, which this TensorRT has as i32");
  }
  return OkStatus();
}

/// Truncates; NaN and what does not fit become the least integer, as ops/cast.h has it.
Result<ITensor*> FloatToInt(NetworkContext& context, ITensor* x, Type type) {
  const bool is_wide = type != Type::kINT32;
  const double limit = is_wide ? 0x1p63 : 0x1p31;  // exact in float32, and -limit fits
  VERDICT_ASSIGN_OR_RETURN(ITensor* const below,
                           context.Elementwise(x, limit, ElementWiseOperation::kLESS));
  VERDICT_ASSIGN_OR_RETURN(ITensor * fits,
                           context.Elementwise(x, -limit, ElementWiseOperation::kLESS));
  VERDICT_ASSIGN_OR_RETURN(fits, context.Unary(fits, UnaryOperation::kNOT));
  VERDICT_ASSIGN_OR_RETURN(fits, context.Elementwise(below, fits, ElementWiseOperation::kAND));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const least,
                           context.Scalar(type, -limit, x->getDimensions().nbDims));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const number, context.Cast(x, type));
  return context.Select(fits, number, least);
}

/// Anything but 0 is true, NaN too.
Result<ITensor*> ToBool(NetworkContext& context, ITensor* x) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_zero,
                           context.Elementwise(x, 0.0, ElementWiseOperation::kEQUAL));
  return context.Unary(is_zero, UnaryOperation::kNOT);
}

Status Add(NetworkContext& context, const Node& node) {
  const DataType from = context.graph().value(node.inputs[0]).dtype;
  const DataType to = context.graph().value(node.outputs[0]).dtype;
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(const Type type, DeviceType(to));
  if (from == to) return context.SetOutput(0, x);
  if (IsFloat(from) && !IsFloat(to)) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Cast(x, Type::kFLOAT));
  }
  if (to == DataType::kBool) return context.SetOutput(0, ToBool(context, x));
  if (IsFloat(from) && IsInt(to)) return context.SetOutput(0, FloatToInt(context, x, type));
  return context.SetOutput(0, context.Cast(x, type));
}

constexpr NodeBuilder kBuilders[] = {
    {"Cast", Supports, Add},
    {"CastLike", Supports, Add},
};

}  // namespace

std::span<const NodeBuilder> CastBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
