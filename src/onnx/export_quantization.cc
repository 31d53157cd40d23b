#include <cstring>

#include "onnx/export_table.h"

namespace verdict {

// ONNX may leave a zero point of 0 out. TensorRT 8.5's parser does not: it wants one, of the
// scale's size.
Status ExportDequantizeLinear(NodeExport& node) {
  const DataType type = node.input(0).dtype;
  const Constant* scale = node.ConstantInput(1);
  if (node.has_input(2) || type == DataType::kInt32 || scale == nullptr) {
    node.EmitNode();
    return OkStatus();
  }
  auto [zeros, data] = Constant::Allocate(type, scale->shape);
  std::memset(data, 0, static_cast<size_t>(zeros.view().size()) * ElementSize(type));
  node.EmitOutput(node.node.op,
                  {node.Input(0), node.Input(1), node.AddConstant("zero_point", zeros)},
                  node.attributes);
  return OkStatus();
}

}  // namespace verdict
