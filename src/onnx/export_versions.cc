#include <algorithm>

#include "onnx/export_table.h"
#include "onnx/proto_tensor.h"

// Operators of which newer versions say more than those of operator set 17.

namespace verdict {
namespace {

/// A constant list of i64 or i32, which the shape rules require of axes, pads and the like.
std::vector<int64_t> IntsOf(const Constant& constant) {
  if (constant.dtype == DataType::kInt32) {
    const auto values = constant.view().as<const int32_t>();
    return {values.begin(), values.end()};
  }
  const auto values = constant.view().as<const int64_t>();
  return {values.begin(), values.end()};
}

}  // namespace

// Version 19 has dilations.
Status ExportAveragePool(NodeExport& node) {
  const auto dilations = node.reader().Ints("dilations");
  if (std::ranges::any_of(dilations, [](int64_t dilation) { return dilation != 1; })) {
    return node.Unsupported("AveragePool of ai.onnx 17 has no dilations");
  }
  node.attributes.erase("dilations");
  node.EmitNode();
  return OkStatus();
}

// Version 19 says how 8-bit floats are made; we have none.
Status ExportCast(NodeExport& node) {
  node.attributes.erase("saturate");
  node.attributes.erase("round_mode");
  node.EmitNode();
  return OkStatus();
}

// The value is an attribute in ONNX.
Status ExportConstantOfShape(NodeExport& node) {
  const Constant* value = nullptr;
  if (node.has_input(1)) {
    VERDICT_ASSIGN_OR_RETURN(value, node.RequireConstant(1, "the value"));
  }
  onnx::NodeProto& proto = node.Emit(node.node.op, {node.Input(0)}, node.Outputs());
  if (value == nullptr) return OkStatus();
  Constant element = *value;
  element.shape = {1};
  onnx::AttributeProto& attribute = *proto.add_attribute();
  attribute.set_name("value");
  attribute.set_type(onnx::AttributeProto::TENSOR);
  *attribute.mutable_t() = TensorFromConstant("", element);
  return OkStatus();
}

// Version 19 compares strings.
Status ExportEqual(NodeExport& node) {
  if (node.input(0).dtype == DataType::kString) {
    return node.Unsupported("Equal of ai.onnx 17 does not compare strings");
  }
  node.EmitNode();
  return OkStatus();
}

// Version 18 takes axes, version 19 has the mode "wrap".
Status ExportPad(NodeExport& node) {
  if (node.reader().String("mode", "constant") == "wrap") {
    return node.Unsupported("Pad of ai.onnx 17 has no mode 'wrap'");
  }
  if (!node.has_input(3)) {
    node.EmitNode();
    return OkStatus();
  }
  VERDICT_ASSIGN_OR_RETURN(const Constant* pads, node.RequireConstant(1, "the pads of some axes"));
  VERDICT_ASSIGN_OR_RETURN(const Constant* axes, node.RequireConstant(3, "the axes"));
  const std::vector<int64_t> given = IntsOf(*pads);
  const std::vector<int64_t> padded = IntsOf(*axes);
  const int64_t rank = node.input(0).shape.rank();
  std::vector<int64_t> all(static_cast<size_t>(2 * rank), 0);
  for (size_t i = 0; i < padded.size(); ++i) {
    const auto axis = static_cast<size_t>(padded[i] < 0 ? padded[i] + rank : padded[i]);
    all.at(axis) = given.at(i);
    all.at(axis + static_cast<size_t>(rank)) = given.at(i + padded.size());
  }
  std::vector<std::string> inputs = {node.Input(0), node.AddInts("pads", all)};
  if (node.has_input(2)) inputs.push_back(node.Input(2));
  node.Emit("Pad", inputs, node.Outputs(), node.attributes);
  return OkStatus();
}

// All but ReduceSum: their axes became an input in version 18.
Status ExportReduction(NodeExport& node) {
  std::vector<int64_t> axes;
  if (node.has_input(1)) {
    VERDICT_ASSIGN_OR_RETURN(const Constant* constant, node.RequireConstant(1, "the axes"));
    axes = IntsOf(*constant);
  }
  if (axes.empty() && node.reader().Int("noop_with_empty_axes", 0) != 0) {
    return node.Unsupported(node.node.op + " of ai.onnx 17 without axes reduces all of them");
  }
  node.attributes.erase("noop_with_empty_axes");
  if (!axes.empty()) node.attributes["axes"] = axes;
  node.Emit(node.node.op, {node.Input(0)}, node.Outputs(), node.attributes);
  return OkStatus();
}

// ScatterElements and ScatterND: version 18 has "min" and "max".
Status ExportScatter(NodeExport& node) {
  const std::string reduction(node.reader().String("reduction", "none"));
  if (reduction == "min" || reduction == "max") {
    return node.Unsupported(node.node.op + " of ai.onnx 17 has no reduction '" + reduction + "'");
  }
  node.EmitNode();
  return OkStatus();
}

// Version 18 says how many parts there are, and the last one may be smaller.
Status ExportSplit(NodeExport& node) {
  node.attributes.erase("num_outputs");
  std::vector<std::string> outputs = node.Outputs();
  for (std::string& name : outputs) {
    if (name.empty()) name = node.NewName("unused");
  }
  std::vector<std::string> inputs = node.Inputs();
  const Shape& shape = node.input(0).shape;
  int64_t axis = node.reader().Int("axis", 0);
  if (axis < 0) axis += shape.rank();
  const Dim extent = shape[static_cast<int>(axis)];
  const auto parts = static_cast<int64_t>(outputs.size());
  if (!node.has_input(1) && !IsSymbol(extent) && extent % parts != 0) {
    const int64_t part = extent / parts + 1;
    std::vector<int64_t> sizes(outputs.size(), part);
    sizes.back() = extent - part * (parts - 1);
    inputs = {inputs[0], node.AddInts("split", sizes)};
  }
  node.Emit("Split", inputs, outputs, node.attributes);
  return OkStatus();
}

}  // namespace verdict
