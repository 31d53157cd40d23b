#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "onnx/node_translation.h"

namespace verdict {

inline constexpr int64_t kMinOpset = 7;
inline constexpr int64_t kMaxOpset = 23;
inline constexpr int64_t kMaxMlOpset = 5;
inline constexpr std::string_view kOnnxDomain = "";  // also written "ai.onnx"
inline constexpr std::string_view kMlDomain = "ai.onnx.ml";
inline constexpr std::string_view kMicrosoftDomain = "com.microsoft";  // ONNX Runtime's own

/// The operator set version in which an operator of ai.onnx or ai.onnx.ml appeared (0: ONNX up to
/// the versions above does not have it). Source: the operator registry of ONNX 1.23.
int64_t FirstVersion(std::string_view domain, std::string_view op);

/// The handler for an operator at a version of its domain's operator set. Operators that mean the
/// same in every version and are among ours need no entry in the table: they are copied. Of
/// com.microsoft only what the table has is supported.
/// Errors: kUnimplemented where there is no such operator, or the reason why it is refused.
Result<NodeHandler> FindHandler(std::string_view domain, std::string_view op, int64_t version);

// The handlers, by the file that has them.
// translate_axes.cc: attributes that became inputs.
Status TranslateAxes(NodeTranslation& translation);
Status TranslateSlice1(NodeTranslation& translation);
Status TranslatePad2(NodeTranslation& translation);
Status TranslateSplit2(NodeTranslation& translation);
Status TranslateSplit13(NodeTranslation& translation);
Status TranslateTopK1(NodeTranslation& translation);
Status TranslateClip6(NodeTranslation& translation);
// translate_constants.cc: constants.
Status TranslateConstant(NodeTranslation& translation);
Status TranslateConstantOfShape(NodeTranslation& translation);
// translate_layers.cc: layers whose meaning changed.
Status TranslateSoftmax1(NodeTranslation& translation);
Status TranslateDropout7(NodeTranslation& translation);
Status TranslateDropout12(NodeTranslation& translation);
Status TranslateBatchNormalization(NodeTranslation& translation);
Status TranslateGroupNormalization18(NodeTranslation& translation);
Status TranslateScatter9(NodeTranslation& translation);
Status TranslateZipMap(NodeTranslation& translation);
// translate_quantization.cc
Status TranslateQuantizeLinear(NodeTranslation& translation);
Status TranslateDequantizeLinear(NodeTranslation& translation);
// lower_quantized.cc: operators whose inputs and output are quantized.
Status LowerQLinearMatMul(NodeTranslation& translation);
Status LowerQLinearConv(NodeTranslation& translation);
Status LowerQGemm(NodeTranslation& translation);
Status LowerQLinearAdd(NodeTranslation& translation);
Status LowerQLinearMul(NodeTranslation& translation);
Status LowerQLinearSigmoid(NodeTranslation& translation);
Status LowerQLinearLeakyRelu(NodeTranslation& translation);
Status LowerQLinearSoftmax(NodeTranslation& translation);
Status LowerQLinearConcat(NodeTranslation& translation);
// lower_integer_products.cc: activations quantized at run time.
Status LowerDynamicQuantizeLinear(NodeTranslation& translation);
Status LowerMatMulInteger(NodeTranslation& translation);
Status LowerConvInteger(NodeTranslation& translation);
Status LowerMatMulIntegerToFloat(NodeTranslation& translation);
Status LowerDynamicQuantizeMatMul(NodeTranslation& translation);
// lower_quantized_lstm.cc
Status LowerDynamicQuantizeLstm(NodeTranslation& translation);
// lower_linear.cc
Status LowerLinearClassifier(NodeTranslation& translation);
Status LowerLinearRegressor(NodeTranslation& translation);
// lower_features.cc: arrays of attributes that become constant inputs.
Status LowerScaler(NodeTranslation& translation);
Status LowerImputer(NodeTranslation& translation);
Status LowerOneHotEncoder(NodeTranslation& translation);
Status LowerArrayFeatureExtractor(NodeTranslation& translation);
// lower_label_encoder.cc
Status LowerLabelEncoder1(NodeTranslation& translation);
Status LowerLabelEncoder2(NodeTranslation& translation);
Status LowerCategoryMapper(NodeTranslation& translation);
// lower_classifier.cc
Status LowerTreeEnsembleClassifier(NodeTranslation& translation);
// lower_trees.cc
Status LowerTreeEnsembleRegressor(NodeTranslation& translation);
Status LowerTreeEnsemble5(NodeTranslation& translation);

}  // namespace verdict
