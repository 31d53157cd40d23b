// Normalizations, from reductions and elementwise layers in all versions: INormalizationLayer is
// only there from TensorRT 8.6 on, and this form subtracts the mean before it squares.

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::ReduceOperation;
using nvinfer1::UnaryOperation;

uint32_t AxesFrom(int axis, int rank) { return (1U << rank) - (1U << axis); }

Result<ITensor*> Multiply(NetworkContext& context, ITensor* a, ITensor* b) {
  return context.Elementwise(a, b, ElementWiseOperation::kPROD);
}

struct Normalized {
  ITensor* y = nullptr;
  ITensor* mean = nullptr;  // null without one
  ITensor* deviation = nullptr;
};

/// (x - mean) / sqrt(mean square + epsilon) over the axes; subtract_mean: else the mean is 0.
Result<Normalized> Normalize(NetworkContext& context, ITensor* x, uint32_t axes, float epsilon,
                             bool subtract_mean) {
  Normalized result;
  if (subtract_mean) {
    VERDICT_ASSIGN_OR_RETURN(result.mean, context.Reduce(x, ReduceOperation::kAVG, axes, true));
    VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, result.mean, ElementWiseOperation::kSUB));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * squares,
                           context.options().parser_forms
                               ? context.Elementwise(x, 2.0, ElementWiseOperation::kPOW)
                               : Multiply(context, x, x));
  VERDICT_ASSIGN_OR_RETURN(ITensor * variance,
                           context.Reduce(squares, ReduceOperation::kAVG, axes, true));
  VERDICT_ASSIGN_OR_RETURN(variance, context.Elementwise(variance, static_cast<double>(epsilon),
                                                         ElementWiseOperation::kSUM));
  VERDICT_ASSIGN_OR_RETURN(result.deviation, context.Unary(variance, UnaryOperation::kSQRT));
  VERDICT_ASSIGN_OR_RETURN(result.y,
                           context.Elementwise(x, result.deviation, ElementWiseOperation::kDIV));
  return result;
}

/// y * scale + bias, which broadcast; the bias may be left out.
Result<ITensor*> ScaleAndShift(NetworkContext& context, ITensor* y, ITensor* scale, ITensor* bias) {
  VERDICT_ASSIGN_OR_RETURN(y, Multiply(context, y, scale));
  if (bias == nullptr) return y;
  return context.Elementwise(y, bias, ElementWiseOperation::kSUM);
}

Status AddLayerOrRms(NetworkContext& context, const Node& node, bool subtract_mean) {
  const AttributeReader attributes(node);
  const int rank = context.InputShape(0).rank();
  const int64_t axis = attributes.Int("axis", -1);
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(
      const Normalized normalized,
      Normalize(context, x, AxesFrom(static_cast<int>(axis < 0 ? axis + rank : axis), rank),
                attributes.Float("epsilon", 1e-5F), subtract_mean));
  VERDICT_ASSIGN_OR_RETURN(ITensor * scale, context.Input(1));
  ITensor* bias = nullptr;
  if (context.HasInput(2)) {
    VERDICT_ASSIGN_OR_RETURN(bias, context.Input(2));
  }
  VERDICT_RETURN_IF_ERROR(context.SetOutput(0, ScaleAndShift(context, normalized.y, scale, bias)));
  if (node.outputs.size() > 1 && node.outputs[1] != kNoValue) {
    VERDICT_RETURN_IF_ERROR(context.SetOutput(1, normalized.mean));
  }
  if (node.outputs.size() > 2 && node.outputs[2] != kNoValue) {
    VERDICT_RETURN_IF_ERROR(
        context.SetOutput(2, context.Unary(normalized.deviation, UnaryOperation::kRECIP)));
  }
  return OkStatus();
}

Status AddLayerNormalization(NetworkContext& context, const Node& node) {
  return AddLayerOrRms(context, node, true);
}

Status AddRmsNormalization(NetworkContext& context, const Node& node) {
  return AddLayerOrRms(context, node, false);
}

/// A list of the channels as [C, 1, …], which broadcasts to [N, C, …] of that rank.
Result<ITensor*> PerChannel(NetworkContext& context, size_t input, int rank) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * values, context.Input(input));
  if (rank <= 2) return values;
  return context.Unsqueeze(values, AxesFrom(1, rank - 1));
}

Status SupportsGroups(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireFloat32(graph, node));
  if (IsSymbol(InputShape(graph, node, 1)[0])) return Decline("an unknown number of channels");
  return OkStatus();
}

/// [N, C, …] as [N, groups, the rest], normalized there. InstanceNormalization: a channel a group.
Status AddGroupNormalization(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  const int64_t groups = attributes.Int("num_groups", context.InputShape(1)[0]);
  const int rank = context.InputShape(0).rank();
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  const int64_t grouped[] = {0, groups, -1};
  VERDICT_ASSIGN_OR_RETURN(ITensor * groups_of_x, context.Reshape(x, grouped));
  VERDICT_ASSIGN_OR_RETURN(
      const Normalized normalized,
      Normalize(context, groups_of_x, 1U << 2, attributes.Float("epsilon", 1e-5F), true));
  VERDICT_ASSIGN_OR_RETURN(ITensor * shape, context.ShapeOf(x));
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, context.Reshape(normalized.y, shape));
  VERDICT_ASSIGN_OR_RETURN(ITensor * scale, PerChannel(context, 1, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * bias, PerChannel(context, 2, rank));
  return context.SetOutput(0, ScaleAndShift(context, y, scale, bias));
}

Result<ITensor*> BatchNormalized(NetworkContext& context, const Node& node) {
  const int rank = context.InputShape(0).rank();
  const float epsilon = AttributeReader(node).Float("epsilon", 1e-5F);
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * scale, PerChannel(context, 1, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * bias, PerChannel(context, 2, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * mean, PerChannel(context, 3, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * variance, PerChannel(context, 4, rank));
  VERDICT_ASSIGN_OR_RETURN(variance, context.Elementwise(variance, static_cast<double>(epsilon),
                                                         ElementWiseOperation::kSUM));
  VERDICT_ASSIGN_OR_RETURN(ITensor * deviation, context.Unary(variance, UnaryOperation::kSQRT));
  VERDICT_ASSIGN_OR_RETURN(ITensor * factor,
                           context.Elementwise(scale, deviation, ElementWiseOperation::kDIV));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, mean, ElementWiseOperation::kSUB));
  return ScaleAndShift(context, x, factor, bias);
}

Status AddBatchNormalization(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, BatchNormalized(context, node));
}

/// x / norm, where a norm of 0 gives 0.
Result<ITensor*> LpNormalized(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  const int rank = context.InputShape(0).rank();
  const int64_t axis = attributes.Int("axis", -1);
  const uint32_t axes = 1U << (axis < 0 ? axis + rank : axis);
  const bool squares = attributes.Int("p", 2) == 2;
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(
      ITensor * sizes, squares ? Multiply(context, x, x) : context.Unary(x, UnaryOperation::kABS));
  VERDICT_ASSIGN_OR_RETURN(ITensor * norm,
                           context.Reduce(sizes, ReduceOperation::kSUM, axes, true));
  if (squares) {
    VERDICT_ASSIGN_OR_RETURN(norm, context.Unary(norm, UnaryOperation::kSQRT));
  }
  // 8.5 makes NaN of 0 over the larger one of 0 and the least positive number.
  VERDICT_ASSIGN_OR_RETURN(ITensor * is_zero,
                           context.Elementwise(norm, 0.0, ElementWiseOperation::kEQUAL));
  VERDICT_ASSIGN_OR_RETURN(ITensor * one, context.Scalar(Type::kFLOAT, 1, rank));
  VERDICT_ASSIGN_OR_RETURN(norm, context.Select(is_zero, one, norm));
  return context.Elementwise(x, norm, ElementWiseOperation::kDIV);
}

Status AddLpNormalization(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, LpNormalized(context, node));
}

constexpr NodeBuilder kBuilders[] = {
    {"BatchNormalization", RequireFloat32, AddBatchNormalization},
    {"GroupNormalization", SupportsGroups, AddGroupNormalization},
    {"InstanceNormalization", SupportsGroups, AddGroupNormalization},
    {"LayerNormalization", RequireFloat32, AddLayerNormalization},
    {"LpNormalization", RequireFloat32, AddLpNormalization},
    {"RMSNormalization", RequireFloat32, AddRmsNormalization},
};

}  // namespace

std::span<const NodeBuilder> NormalizationBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
