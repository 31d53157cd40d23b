#include "onnx/export_table.h"

#include <algorithm>

#include "onnx/opset_table.h"

namespace verdict {
namespace {

Status Copy(NodeExport& node) {
  node.EmitNode();
  return OkStatus();
}

Status CopyMl(NodeExport& node) {
  node.EmitNode(kMlDomain);
  return OkStatus();
}

struct Entry {
  std::string_view op;
  ExportHandler handler;
};

constexpr Entry kEntries[] = {
    {"ArrayFeatureExtractor", ExportArrayFeatureExtractor},
    {"Attention", ExportAttention},
    {"AveragePool", ExportAveragePool},
    {"Cast", ExportCast},
    {"CastLike", ExportCast},
    {"ClassifierOutput", ExportClassifierOutput},
    {"ConstantOfShape", ExportConstantOfShape},
    {"DequantizeLinear", ExportDequantizeLinear},
    {"Equal", ExportEqual},
    {"FusedGemm", ExportFusedGemm},
    {"GRU", ExportRecurrent},
    {"Gelu", ExportGelu},
    {"GroupNormalization", ExportGroupNormalization},
    {"Imputer", ExportImputer},
    {"LSTM", ExportRecurrent},
    {"LabelEncoder", ExportLabelEncoder},
    {"Mish", ExportMish},
    {"OneHotEncoder", ExportOneHotEncoder},
    {"Pad", ExportPad},
    {"PostTransform", ExportPostTransform},
    {"RMSNormalization", ExportRmsNormalization},
    {"ReduceL1", ExportReduction},
    {"ReduceL2", ExportReduction},
    {"ReduceLogSum", ExportReduction},
    {"ReduceLogSumExp", ExportReduction},
    {"ReduceMax", ExportReduction},
    {"ReduceMean", ExportReduction},
    {"ReduceMin", ExportReduction},
    {"ReduceProd", ExportReduction},
    {"ReduceSumSquare", ExportReduction},
    {"Scaler", ExportScaler},
    {"ScatterElements", ExportScatter},
    {"ScatterND", ExportScatter},
    {"Split", ExportSplit},
    {"Swish", ExportSwish},
    {"TreeEnsemble", ExportTreeEnsemble},
};

}  // namespace

Result<ExportHandler> FindExportHandler(const Node& node) {
  const auto entry = std::ranges::find(kEntries, node.op, &Entry::op);
  if (entry != std::end(kEntries)) return entry->handler;
  const auto is_in = [&](std::string_view domain, int64_t version) {
    const int64_t first = FirstVersion(domain, node.op);
    return first != 0 && first <= version;
  };
  if (is_in(kOnnxDomain, kExportOpset)) return Copy;
  if (is_in(kMlDomain, kExportMlOpset)) return CopyMl;
  return Unimplemented(Graph::Describe(node) +
                       ": cannot be exported: neither ai.onnx 17 nor ai.onnx.ml 3 has this "
                       "operator");
}

}  // namespace verdict
