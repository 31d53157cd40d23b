#include "onnx/export_table.h"
#include "onnx/opset_table.h"

// Operators of ai.onnx.ml whose attributes are constant inputs of ours.

namespace verdict {
namespace {

template <typename To, typename From>
std::vector<To> ListOf(const Constant& constant) {
  const auto values = constant.view().as<const From>();
  std::vector<To> list;
  for (const auto& value : values) list.emplace_back(value);
  return list;
}

std::vector<float> Floats(const Constant& c) { return ListOf<float, float>(c); }
std::vector<int64_t> Ints(const Constant& c) { return ListOf<int64_t, int64_t>(c); }
std::vector<std::string> Strings(const Constant& c) {
  return ListOf<std::string, std::string_view>(c);
}

void EmitMl(NodeExport& node) {
  node.Emit(node.node.op, {node.Input(0)}, node.Outputs(), node.attributes, kMlDomain);
}

/// Sets NAME_int64s, NAME_floats or NAME_strings (or the same without s, of one element).
Status SetList(NodeExport& node, const std::string& name, const Constant& list, bool is_one) {
  const std::string plural = is_one ? "" : "s";
  const auto set = [&](const std::string& type, auto values) {
    auto& attribute = node.attributes[name + "_" + type + plural];
    if (is_one) {
      attribute = values.at(0);
    } else {
      attribute = std::move(values);
    }
  };
  switch (list.dtype) {
    case DataType::kInt64:
      set("int64", Ints(list));
      return OkStatus();
    case DataType::kFloat32:
      set("float", Floats(list));
      return OkStatus();
    case DataType::kString:
      set("string", Strings(list));
      return OkStatus();
    default:
      return node.Unsupported("ai.onnx.ml 3 has no lists of type " +
                              std::string(DataTypeName(list.dtype)) + " for its '" + name + "'");
  }
}

}  // namespace

Status ExportImputer(NodeExport& node) {
  VERDICT_ASSIGN_OR_RETURN(const Constant* values, node.RequireConstant(1, "the values"));
  VERDICT_ASSIGN_OR_RETURN(const Constant* replaced, node.RequireConstant(2, "what is replaced"));
  if (values->dtype == DataType::kString) return node.Unsupported("it imputes strings");
  VERDICT_RETURN_IF_ERROR(SetList(node, "imputed_value", *values, /*is_one=*/false));
  VERDICT_RETURN_IF_ERROR(SetList(node, "replaced_value", *replaced, /*is_one=*/true));
  EmitMl(node);
  return OkStatus();
}

Status ExportLabelEncoder(NodeExport& node) {
  VERDICT_ASSIGN_OR_RETURN(const Constant* keys, node.RequireConstant(1, "the keys"));
  VERDICT_ASSIGN_OR_RETURN(const Constant* values, node.RequireConstant(2, "the values"));
  VERDICT_ASSIGN_OR_RETURN(const Constant* fallback, node.RequireConstant(3, "the default"));
  VERDICT_RETURN_IF_ERROR(SetList(node, "keys", *keys, /*is_one=*/false));
  VERDICT_RETURN_IF_ERROR(SetList(node, "values", *values, /*is_one=*/false));
  VERDICT_RETURN_IF_ERROR(SetList(node, "default", *fallback, /*is_one=*/true));
  EmitMl(node);
  return OkStatus();
}

Status ExportOneHotEncoder(NodeExport& node) {
  VERDICT_ASSIGN_OR_RETURN(const Constant* categories, node.RequireConstant(1, "the categories"));
  VERDICT_RETURN_IF_ERROR(SetList(node, "cats", *categories, /*is_one=*/false));
  EmitMl(node);
  return OkStatus();
}

// Of floats as ai.onnx says it: OpenVINO and TensorRT read nothing of ai.onnx.ml.
Status ExportScaler(NodeExport& node) {
  VERDICT_ASSIGN_OR_RETURN(const Constant* offset, node.RequireConstant(1, "the offset"));
  VERDICT_ASSIGN_OR_RETURN(const Constant* scale, node.RequireConstant(2, "the scale"));
  if (node.input(0).dtype == DataType::kFloat32) {
    const std::string centered = node.EmitValue("Sub", {node.Input(0), node.Input(1)});
    node.EmitOutput("Mul", {centered, node.Input(2)});
    return OkStatus();
  }
  node.attributes["offset"] = Floats(*offset);
  node.attributes["scale"] = Floats(*scale);
  EmitMl(node);
  return OkStatus();
}

// A Gather along the last axis, for the same readers. Of a list it makes a row: [1,K].
Status ExportArrayFeatureExtractor(NodeExport& node) {
  const int rank = node.input(0).shape.rank();
  const int wanted = rank == 1 ? 2 : 1;
  std::string indices = node.Input(1);
  if (node.input(1).shape.rank() != wanted) {
    const std::vector<int64_t> shape =
        wanted == 2 ? std::vector<int64_t>{1, -1} : std::vector<int64_t>{-1};
    indices = node.EmitValue("Reshape", {indices, node.AddInts("shape", shape)});
  }
  node.EmitOutput("Gather", {node.Input(0), indices}, {{"axis", int64_t{rank - 1}}});
  return OkStatus();
}

}  // namespace verdict
