#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"
#include "ops/post_transform.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ActivationType;
using nvinfer1::ElementWiseOperation;
using nvinfer1::ReduceOperation;
using nvinfer1::UnaryOperation;

// Operators of ai.onnx.ml on numbers.

bool IsInt(DataType dtype) { return dtype == DataType::kInt32 || dtype == DataType::kInt64; }

/// f32 or integers; strings and f64 have no DeviceType.
Status SupportsNumbers(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  return dtype == DataType::kFloat32 || IsInt(dtype) ? OkStatus()
                                                     : Decline("only f32, i32 and i64");
}

Status AddScaler(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const offset, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const scale, context.Input(2));
  VERDICT_ASSIGN_OR_RETURN(x, context.Cast(x, Type::kFLOAT));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, offset, ElementWiseOperation::kSUB));
  return context.SetOutput(0, context.Elementwise(x, scale, ElementWiseOperation::kPROD));
}

/// x divided by the norm of its row; x itself where that is 0.
Status AddNormalizer(NetworkContext& context, const Node& node) {
  const std::string_view norm = AttributeReader(node).String("norm", "MAX");
  const int rank = context.InputShape(0).rank();
  const uint32_t axes = 1U << (rank - 1);
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(x, context.Cast(x, Type::kFLOAT));
  ITensor* size = nullptr;
  if (norm == "MAX") {
    // The greatest value, which passes over NaN.
    constexpr auto kLowest = static_cast<double>(std::numeric_limits<float>::lowest());
    VERDICT_ASSIGN_OR_RETURN(ITensor* const is_nan, AddIsNan(context, x));
    VERDICT_ASSIGN_OR_RETURN(ITensor* const lowest, context.Scalar(Type::kFLOAT, kLowest, rank));
    VERDICT_ASSIGN_OR_RETURN(size, context.Select(is_nan, lowest, x));
    VERDICT_ASSIGN_OR_RETURN(size, context.Reduce(size, ReduceOperation::kMAX, axes, true));
    // A row of -inf has the lowest float as its norm.
    VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(size, kLowest, ElementWiseOperation::kMAX));
  } else if (norm == "L1") {
    VERDICT_ASSIGN_OR_RETURN(size, context.Unary(x, UnaryOperation::kABS));
    VERDICT_ASSIGN_OR_RETURN(size, context.Reduce(size, ReduceOperation::kSUM, axes, true));
  } else {
    VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(x, x, ElementWiseOperation::kPROD));
    VERDICT_ASSIGN_OR_RETURN(size, context.Reduce(size, ReduceOperation::kSUM, axes, true));
    VERDICT_ASSIGN_OR_RETURN(size, context.Unary(size, UnaryOperation::kSQRT));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_zero,
                           context.Elementwise(size, 0.0, ElementWiseOperation::kEQUAL));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const one, context.Scalar(Type::kFLOAT, 1, rank));
  VERDICT_ASSIGN_OR_RETURN(size, context.Select(is_zero, one, size));
  return context.SetOutput(0, context.Elementwise(x, size, ElementWiseOperation::kDIV));
}

Status AddBinarizer(NetworkContext& context, const Node& node) {
  const auto threshold = static_cast<double>(AttributeReader(node).Float("threshold", 0.0F));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const above,
                           context.Elementwise(x, threshold, ElementWiseOperation::kGREATER));
  return context.SetOutput(0, context.Cast(above, Type::kFLOAT));
}

Status SupportsImputer(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireConstant(graph, node, 2));
  return SupportsNumbers(graph, node);
}

Status AddImputer(NetworkContext& context, const Node& node) {
  const Constant& replaced = *context.graph().constant(node.inputs[2]);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const values, context.Input(1));
  ITensor* is_missing = nullptr;
  const float* number =
      replaced.dtype == DataType::kFloat32 ? static_cast<const float*>(replaced.data) : nullptr;
  if (number != nullptr && *number != *number) {
    VERDICT_ASSIGN_OR_RETURN(is_missing, AddIsNan(context, x));
  } else {
    VERDICT_ASSIGN_OR_RETURN(ITensor* const marker, context.Input(2));
    VERDICT_ASSIGN_OR_RETURN(is_missing,
                             context.Elementwise(x, marker, ElementWiseOperation::kEQUAL));
  }
  return context.SetOutput(0, context.Select(is_missing, values, x));
}

/// Integers against constant categories; each category once, and unknown ones give zeros.
Status SupportsOneHotEncoder(const Graph& graph, const Node& node) {
  if (!IsInt(InputType(graph, node, 0))) return Decline("only i32 and i64 are supported");
  if (AttributeReader(node).Int("zeros", 1) == 0) return Decline("refuses unknown categories");
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> categories, IntConstant(graph, node, 1));
  if (std::set(categories.begin(), categories.end()).size() != categories.size()) {
    return Decline("a category is named twice");
  }
  const auto fits = [](int64_t value) { return value == static_cast<int32_t>(value); };
  return std::ranges::all_of(categories, fits) ? OkStatus() : Decline("categories of 64 bits");
}

Status AddOneHotEncoder(NetworkContext& context, const Node&) {
  const int rank = context.OutputShape(0).rank();
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(x, context.Cast(x, kIndexType));
  VERDICT_ASSIGN_OR_RETURN(x, context.Unsqueeze(x, 1U << (rank - 1)));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const categories, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const hot,
                           context.Elementwise(x, categories, ElementWiseOperation::kEQUAL));
  return context.SetOutput(0, context.Cast(hot, Type::kFLOAT));
}

Status SupportsFeatureVectorizer(const Graph& graph, const Node& node) {
  const auto widths = AttributeReader(node).Ints("inputdimensions");
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Shape& shape = InputShape(graph, node, i);
    if (widths[i] != (shape.rank() == 1 ? 1 : shape[1])) return Decline("cuts or fills columns");
    const DataType dtype = InputType(graph, node, i);
    if (dtype != DataType::kFloat32 && !IsInt(dtype)) return Decline("only f32, i32 and i64");
  }
  return OkStatus();
}

Status AddFeatureVectorizer(NetworkContext& context, const Node& node) {
  std::vector<ITensor*> parts;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(i));
    VERDICT_ASSIGN_OR_RETURN(x, context.Cast(x, Type::kFLOAT));
    if (context.InputShape(i).rank() == 1) {
      VERDICT_ASSIGN_OR_RETURN(x, context.Unsqueeze(x, 2));
    }
    parts.push_back(x);
  }
  return context.SetOutput(0, context.Concat(parts, 1));
}

// What makes labels and probabilities of raw scores.

PostTransformKind KindOf(const Node& node) {
  return *PostTransformFromName(AttributeReader(node).String("post_transform", "NONE"));
}

Status SupportsPostTransform(const Graph& graph, const Node& node) {
  const PostTransformKind kind = KindOf(node);
  if (kind == PostTransformKind::kSoftmaxZero || kind == PostTransformKind::kProbit) {
    return Decline("post_transform SOFTMAX_ZERO and PROBIT");
  }
  if (IsSymbol(InputShape(graph, node, 0)[1])) return Decline("no fixed number of scores");
  return RequireFloat32(graph, node);
}

/// A row of one score stays as it is, as in ops/post_transform.cc.
Result<ITensor*> Transformed(NetworkContext& context, ITensor* scores, PostTransformKind kind,
                             Dim columns) {
  if (columns == 1 || kind == PostTransformKind::kNone) return scores;
  if (kind == PostTransformKind::kLogistic) {
    return context.Activation(scores, ActivationType::kSIGMOID);
  }
  return AddSoftmax(context, scores, 1);
}

Status AddPostTransform(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const scores, context.Input(0));
  return context.SetOutput(0, Transformed(context, scores, KindOf(node), context.InputShape(0)[1]));
}

Status SupportsClassifierOutput(const Graph& graph, const Node& node) {
  const PostTransformKind kind = KindOf(node);
  if (kind == PostTransformKind::kSoftmaxZero || kind == PostTransformKind::kProbit) {
    return Decline("post_transform SOFTMAX_ZERO and PROBIT");
  }
  if (IsSymbol(InputShape(graph, node, 0)[1])) return Decline("no fixed number of scores");
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, IntConstant(graph, node, 1));
  const auto fits = [](int64_t value) { return value == static_cast<int32_t>(value); };
  return std::ranges::all_of(labels, fits) ? OkStatus() : Decline("labels of 64 bits");
}

/// One score for two classes: ONNX Runtime's rule, as ops/classifier_output.cc.
Status AddBinary(NetworkContext& context, const Node& node, ITensor* score, ITensor* labels) {
  const AttributeReader attributes(node);
  const auto threshold = static_cast<double>(attributes.Float("label_threshold", 0.0F));
  const std::array<int64_t, 1> zero{0}, one{1};
  VERDICT_ASSIGN_OR_RETURN(ITensor* const first, context.Slice(labels, zero, one, one));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const second, context.Slice(labels, one, one, one));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const above,
                           context.Elementwise(score, threshold, ElementWiseOperation::kGREATER));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const label, context.Select(above, second, first));
  VERDICT_RETURN_IF_ERROR(context.SetOutput(0, context.Squeeze(label, 2)));
  VERDICT_ASSIGN_OR_RETURN(ITensor * other, context.Unary(score, UnaryOperation::kNEG));
  if (KindOf(node) == PostTransformKind::kLogistic) {
    VERDICT_ASSIGN_OR_RETURN(other, context.Activation(other, ActivationType::kSIGMOID));
    VERDICT_ASSIGN_OR_RETURN(score, context.Activation(score, ActivationType::kSIGMOID));
  } else if (attributes.Int("complement", 0) != 0) {
    VERDICT_ASSIGN_OR_RETURN(other, context.Elementwise(other, 1.0, ElementWiseOperation::kSUM));
  }
  return context.SetOutput(1, context.Concat(std::array{other, score}, 1));
}

Status AddClassifierOutput(NetworkContext& context, const Node& node) {
  const Dim columns = context.InputShape(0)[1];
  VERDICT_ASSIGN_OR_RETURN(ITensor* const scores, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const labels, context.Input(1));
  if (columns == 1 && context.InputShape(1)[0] == 2) {
    return AddBinary(context, node, scores, labels);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * index, AddArgMax(context, scores, 1, columns, true));
  VERDICT_ASSIGN_OR_RETURN(index, context.Squeeze(index, 2));
  VERDICT_RETURN_IF_ERROR(
      context.SetOutput(0, context.Output(context.network().addGather(*labels, *index, 0))));
  return context.SetOutput(1, Transformed(context, scores, KindOf(node), columns));
}

constexpr NodeBuilder kBuilders[] = {
    {"Binarizer", RequireFloat32, AddBinarizer},
    {"ClassifierOutput", SupportsClassifierOutput, AddClassifierOutput},
    {"FeatureVectorizer", SupportsFeatureVectorizer, AddFeatureVectorizer},
    {"Imputer", SupportsImputer, AddImputer},
    {"Normalizer", SupportsNumbers, AddNormalizer},
    {"OneHotEncoder", SupportsOneHotEncoder, AddOneHotEncoder},
    {"PostTransform", SupportsPostTransform, AddPostTransform},
    {"Scaler", SupportsNumbers, AddScaler},
};

}  // namespace

std::span<const NodeBuilder> FeatureBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
