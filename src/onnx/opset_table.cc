#include "onnx/opset_table.h"

#include <algorithm>

#include "onnx/attributes.h"
#include "ops/op.h"

namespace verdict {
namespace {

Status Copy(NodeTranslation& translation) { return translation.EmitNode(); }

Status RefuseSubgraph(NodeTranslation& translation) {
  return translation.Unsupported(kNoSubgraphs);
}

Status RefuseRandom(NodeTranslation& translation) {
  return translation.Unsupported(
      "random numbers would give the same transaction different scores; export the model for "
      "inference (in PyTorch: model.eval())");
}

Status RefuseSvm(NodeTranslation& translation) {
  return translation.Unsupported(
      "support vector machines are not supported; train a linear model, a tree ensemble or a "
      "neural network instead");
}

Status RefuseMap(NodeTranslation& translation) {
  return translation.Unsupported("maps are not supported; feed the model with tensors");
}

constexpr int64_t kAnyVersion = 1 << 30;

/// Versions first..last of an operator go to `handler`. Those outside every range are copied.
struct Entry {
  std::string_view domain;
  std::string_view op;
  int64_t first;
  int64_t last;
  NodeHandler handler;
};

const Entry kEntries[] = {
    {kOnnxDomain, "BatchNormalization", 7, kAnyVersion, TranslateBatchNormalization},
    {kOnnxDomain, "Bernoulli", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "Clip", 1, 10, TranslateClip6},
    {kOnnxDomain, "Constant", 1, kAnyVersion, TranslateConstant},
    {kOnnxDomain, "ConstantOfShape", 1, kAnyVersion, TranslateConstantOfShape},
    {kOnnxDomain, "ConvInteger", 10, kAnyVersion, LowerConvInteger},
    {kOnnxDomain, "DequantizeLinear", 10, kAnyVersion, TranslateDequantizeLinear},
    {kOnnxDomain, "Dropout", 1, 11, TranslateDropout7},
    {kOnnxDomain, "Dropout", 12, kAnyVersion, TranslateDropout12},
    {kOnnxDomain, "DynamicQuantizeLinear", 11, kAnyVersion, LowerDynamicQuantizeLinear},
    {kOnnxDomain, "GroupNormalization", 18, 20, TranslateGroupNormalization18},
    {kOnnxDomain, "Hardmax", 1, 12, TranslateSoftmax1},
    {kOnnxDomain, "If", 1, kAnyVersion, RefuseSubgraph},
    {kOnnxDomain, "LogSoftmax", 1, 12, TranslateSoftmax1},
    {kOnnxDomain, "Loop", 1, kAnyVersion, RefuseSubgraph},
    {kOnnxDomain, "MatMulInteger", 10, kAnyVersion, LowerMatMulInteger},
    {kOnnxDomain, "Multinomial", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "Pad", 1, 10, TranslatePad2},
    {kOnnxDomain, "QLinearConv", 10, kAnyVersion, LowerQLinearConv},
    {kOnnxDomain, "QLinearMatMul", 10, kAnyVersion, LowerQLinearMatMul},
    {kOnnxDomain, "QuantizeLinear", 10, kAnyVersion, TranslateQuantizeLinear},
    {kOnnxDomain, "RandomNormal", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "RandomNormalLike", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "RandomUniform", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "RandomUniformLike", 1, kAnyVersion, RefuseRandom},
    {kOnnxDomain, "ReduceL1", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceL2", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceLogSum", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceLogSumExp", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceMax", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceMean", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceMin", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceProd", 1, 17, TranslateAxes},
    {kOnnxDomain, "ReduceSum", 1, 12, TranslateAxes},
    {kOnnxDomain, "ReduceSumSquare", 1, 17, TranslateAxes},
    {kOnnxDomain, "Scan", 1, kAnyVersion, RefuseSubgraph},
    {kOnnxDomain, "Scatter", 1, 10, TranslateScatter9},
    {kOnnxDomain, "SequenceMap", 1, kAnyVersion, RefuseSubgraph},
    {kOnnxDomain, "Slice", 1, 9, TranslateSlice1},
    {kOnnxDomain, "Softmax", 1, 12, TranslateSoftmax1},
    {kOnnxDomain, "Split", 1, 12, TranslateSplit2},
    {kOnnxDomain, "Split", 13, 17, TranslateSplit13},
    {kOnnxDomain, "Squeeze", 1, 12, TranslateAxes},
    {kOnnxDomain, "TopK", 1, 9, TranslateTopK1},
    {kOnnxDomain, "Unsqueeze", 1, 12, TranslateAxes},

    {kMlDomain, "ArrayFeatureExtractor", 1, kAnyVersion, LowerArrayFeatureExtractor},
    {kMlDomain, "CastMap", 1, kAnyVersion, RefuseMap},
    {kMlDomain, "CategoryMapper", 1, kAnyVersion, LowerCategoryMapper},
    {kMlDomain, "DictVectorizer", 1, kAnyVersion, RefuseMap},
    {kMlDomain, "Imputer", 1, kAnyVersion, LowerImputer},
    {kMlDomain, "LabelEncoder", 1, 1, LowerLabelEncoder1},
    {kMlDomain, "LabelEncoder", 2, kAnyVersion, LowerLabelEncoder2},
    {kMlDomain, "LinearClassifier", 1, kAnyVersion, LowerLinearClassifier},
    {kMlDomain, "LinearRegressor", 1, kAnyVersion, LowerLinearRegressor},
    {kMlDomain, "OneHotEncoder", 1, kAnyVersion, LowerOneHotEncoder},
    {kMlDomain, "SVMClassifier", 1, kAnyVersion, RefuseSvm},
    {kMlDomain, "SVMRegressor", 1, kAnyVersion, RefuseSvm},
    {kMlDomain, "Scaler", 1, kAnyVersion, LowerScaler},
    {kMlDomain, "TreeEnsemble", 1, kAnyVersion, LowerTreeEnsemble5},
    {kMlDomain, "TreeEnsembleClassifier", 1, kAnyVersion, LowerTreeEnsembleClassifier},
    {kMlDomain, "TreeEnsembleRegressor", 1, kAnyVersion, LowerTreeEnsembleRegressor},
    {kMlDomain, "ZipMap", 1, kAnyVersion, TranslateZipMap},

    {kMicrosoftDomain, "DequantizeLinear", 1, kAnyVersion, TranslateDequantizeLinear},
    {kMicrosoftDomain, "DynamicQuantizeLSTM", 1, kAnyVersion, LowerDynamicQuantizeLstm},
    {kMicrosoftDomain, "DynamicQuantizeMatMul", 1, kAnyVersion, LowerDynamicQuantizeMatMul},
    {kMicrosoftDomain, "MatMulIntegerToFloat", 1, kAnyVersion, LowerMatMulIntegerToFloat},
    {kMicrosoftDomain, "QGemm", 1, kAnyVersion, LowerQGemm},
    {kMicrosoftDomain, "QLinearAdd", 1, kAnyVersion, LowerQLinearAdd},
    {kMicrosoftDomain, "QLinearConcat", 1, kAnyVersion, LowerQLinearConcat},
    {kMicrosoftDomain, "QLinearConv", 1, kAnyVersion, LowerQLinearConv},
    {kMicrosoftDomain, "QLinearLeakyRelu", 1, kAnyVersion, LowerQLinearLeakyRelu},
    {kMicrosoftDomain, "QLinearMul", 1, kAnyVersion, LowerQLinearMul},
    {kMicrosoftDomain, "QLinearSigmoid", 1, kAnyVersion, LowerQLinearSigmoid},
    {kMicrosoftDomain, "QLinearSoftmax", 1, kAnyVersion, LowerQLinearSoftmax},
    {kMicrosoftDomain, "QuantizeLinear", 1, kAnyVersion, TranslateQuantizeLinear},
};

std::string FullName(std::string_view domain, std::string_view op) {
  return std::string(domain == kOnnxDomain ? "ai.onnx" : domain) + "." + std::string(op);
}

}  // namespace

Result<NodeHandler> FindHandler(std::string_view domain, std::string_view op, int64_t version) {
  const auto entry = std::ranges::find_if(kEntries, [&](const Entry& candidate) {
    return candidate.domain == domain && candidate.op == op && candidate.first <= version &&
           version <= candidate.last;
  });
  if (domain == kMicrosoftDomain) {
    if (entry != std::end(kEntries)) return entry->handler;
    return Unimplemented("of the operator domain 'com.microsoft', " + std::string(op) +
                         " is not supported; export with the standard operators only, and do not "
                         "save a model that ONNX Runtime has optimized");
  }
  const int64_t first = FirstVersion(domain, op);
  if (first == 0) {
    return Unimplemented("there is no operator " + FullName(domain, op) +
                         " in the ONNX versions supported");
  }
  if (version < first) {
    return InvalidArgument(FullName(domain, op) + " appeared in operator set " +
                           std::to_string(first) + ", but the model imports " +
                           std::to_string(version));
  }
  if (entry != std::end(kEntries)) return entry->handler;
  if (FindOp(op) == nullptr) {
    return Unimplemented("the operator " + FullName(domain, op) + " is not supported");
  }
  return Copy;
}

}  // namespace verdict
