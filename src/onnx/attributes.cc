#include "onnx/attributes.h"

#include "onnx/proto_tensor.h"

namespace verdict {
namespace {

/// Files of the first IR version leave the type out: then the field that is set tells it.
onnx::AttributeProto::AttributeType TypeOf(const onnx::AttributeProto& attribute) {
  if (attribute.type() != onnx::AttributeProto::UNDEFINED) return attribute.type();
  if (attribute.has_f()) return onnx::AttributeProto::FLOAT;
  if (attribute.has_i()) return onnx::AttributeProto::INT;
  if (attribute.has_s()) return onnx::AttributeProto::STRING;
  if (attribute.has_t()) return onnx::AttributeProto::TENSOR;
  if (attribute.has_g()) return onnx::AttributeProto::GRAPH;
  if (attribute.floats_size() > 0) return onnx::AttributeProto::FLOATS;
  if (attribute.ints_size() > 0) return onnx::AttributeProto::INTS;
  if (attribute.strings_size() > 0) return onnx::AttributeProto::STRINGS;
  return onnx::AttributeProto::UNDEFINED;
}

Status ReadAttribute(const std::string& name, const onnx::AttributeProto& attribute,
                     ExternalData& external, NodeTranslation& translation) {
  if (translation.Has(name)) return translation.Error("has the attribute '" + name + "' twice");
  Attributes& attributes = translation.node.attributes;
  switch (TypeOf(attribute)) {
    case onnx::AttributeProto::FLOAT:
      attributes[name] = attribute.f();
      return OkStatus();
    case onnx::AttributeProto::INT:
      attributes[name] = attribute.i();
      return OkStatus();
    case onnx::AttributeProto::STRING:
      attributes[name] = attribute.s();
      return OkStatus();
    case onnx::AttributeProto::FLOATS:
      attributes[name] = std::vector<float>(attribute.floats().begin(), attribute.floats().end());
      return OkStatus();
    case onnx::AttributeProto::INTS:
      attributes[name] = std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end());
      return OkStatus();
    case onnx::AttributeProto::STRINGS:
      attributes[name] =
          std::vector<std::string>(attribute.strings().begin(), attribute.strings().end());
      return OkStatus();
    case onnx::AttributeProto::TENSOR: {
      auto constant = ConstantFromProto(attribute.t(), external);
      if (!constant.ok()) {
        return constant.status().WithContext(Graph::Describe(translation.node) + ": attribute '" +
                                             name + "'");
      }
      translation.tensors.emplace(name, *std::move(constant));
      return OkStatus();
    }
    case onnx::AttributeProto::GRAPH:
    case onnx::AttributeProto::GRAPHS:
      return translation.Unsupported(kNoSubgraphs);
    case onnx::AttributeProto::SPARSE_TENSOR:
    case onnx::AttributeProto::SPARSE_TENSORS:
      return translation.Unsupported("sparse tensors are not supported; store '" + name +
                                     "' densely");
    default:
      return translation.Unsupported("the attribute '" + name +
                                     "' has a type that is not supported");
  }
}

}  // namespace

const onnx::AttributeProto* ResolveAttribute(const onnx::AttributeProto& attribute,
                                             const AttributeBinding* binding) {
  if (attribute.ref_attr_name().empty()) return &attribute;
  if (binding == nullptr) return nullptr;
  const auto bound = binding->find(attribute.ref_attr_name());
  return bound == binding->end() ? nullptr : bound->second;
}

Status ReadAttributes(const onnx::NodeProto& node, const AttributeBinding* binding,
                      ExternalData& external, NodeTranslation& translation) {
  for (const auto& attribute : node.attribute()) {
    const onnx::AttributeProto* resolved = ResolveAttribute(attribute, binding);
    if (resolved == nullptr) continue;
    VERDICT_RETURN_IF_ERROR(ReadAttribute(attribute.name(), *resolved, external, translation));
  }
  return OkStatus();
}

}  // namespace verdict
