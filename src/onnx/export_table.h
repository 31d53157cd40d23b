#pragma once

#include "onnx/node_export.h"

namespace verdict {

/// What is written. ONNX Runtime, OpenVINO and TensorRT all read these.
inline constexpr int64_t kExportOpset = 17;
inline constexpr int64_t kExportMlOpset = 3;

/// Writes one of our operators.
using ExportHandler = Status (*)(NodeExport& node);

/// The handler of a node's operator. Operators that mean the same in operator set 17 as in the
/// newest one need no entry in the table: they are copied. Errors: kUnimplemented, naming the node,
/// for operators of ours that nobody has taught the exporter.
Result<ExportHandler> FindExportHandler(const Node& node);

// The handlers, by the file that has them.
// export_versions.cc: operators of which newer versions say more than version 17.
Status ExportAveragePool(NodeExport& node);
Status ExportCast(NodeExport& node);
Status ExportConstantOfShape(NodeExport& node);
Status ExportEqual(NodeExport& node);
Status ExportPad(NodeExport& node);
Status ExportReduction(NodeExport& node);
Status ExportScatter(NodeExport& node);
Status ExportSplit(NodeExport& node);
// export_layers.cc: layers that version 17 does not have.
Status ExportFusedGemm(NodeExport& node);
Status ExportRecurrent(NodeExport& node);
Status ExportGelu(NodeExport& node);
Status ExportGroupNormalization(NodeExport& node);
Status ExportMish(NodeExport& node);
Status ExportRmsNormalization(NodeExport& node);
Status ExportSwish(NodeExport& node);
// export_attention.cc
Status ExportAttention(NodeExport& node);
// export_quantization.cc: zero points that TensorRT wants.
Status ExportDequantizeLinear(NodeExport& node);
// export_features.cc: constant inputs that are attributes in ai.onnx.ml.
Status ExportArrayFeatureExtractor(NodeExport& node);
Status ExportImputer(NodeExport& node);
Status ExportLabelEncoder(NodeExport& node);
Status ExportOneHotEncoder(NodeExport& node);
Status ExportScaler(NodeExport& node);
// export_classifier.cc
Status ExportClassifierOutput(NodeExport& node);
Status ExportPostTransform(NodeExport& node);
// export_trees.cc
Status ExportTreeEnsemble(NodeExport& node);

}  // namespace verdict
