#include "onnx/node_translation.h"

#include <algorithm>

#include "ops/op.h"
#include "ops/verify.h"

namespace verdict {
namespace {

/// Attributes that say nothing at this value, so that operators need not know them. An empty
/// operator stands for all.
struct NoOpAttribute {
  std::string_view op;
  std::string_view name;
  Attribute value;
};

const NoOpAttribute kNoOpAttributes[] = {
    {"", "saturate", int64_t{1}},      // only 8-bit floats saturate
    {"", "stash_type", int64_t{1}},    // float32 inside, as our kernels compute
    {"", "precision", int64_t{0}},     // ONNX's default
    {"", "block_size", int64_t{0}},    // not blocked
    {"", "output_dtype", int64_t{0}},  // as the inputs say
    {"", "auto_pad", std::string("NOTSET")},
    {"", "layout", int64_t{0}},
    {"", "input_forget", int64_t{0}},
    {"", "clip", 0.0f},
    {"MaxPool", "storage_order", int64_t{0}},
    {"Attention", "qk_matmul_output_mode", int64_t{0}},
    {"Attention", "softcap", 0.0f},
    {"Attention", "softmax_precision", int64_t{1}},
    {"BatchNormalization", "training_mode", int64_t{0}},
};

bool IsEmptyList(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) {
        if constexpr (requires { value.front(); } &&
                      !std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
          return value.empty();
        } else {
          return false;
        }
      },
      attribute);
}

bool ChangesNothing(const std::string& op, const std::string& name, const Attribute& attribute) {
  if (IsEmptyList(attribute)) return true;
  return std::ranges::any_of(kNoOpAttributes, [&](const NoOpAttribute& known) {
    return (known.op.empty() || known.op == op) && known.name == name && known.value == attribute;
  });
}

/// Attributes that our passes and `verdict build` add to ONNX's operators.
constexpr std::string_view kOwnAttributes[] = {"compute_type", "mask_as_add"};

Status DropUnknownAttributes(Node& node, const OpDef& op) {
  for (auto it = node.attributes.begin(); it != node.attributes.end();) {
    const bool known =
        std::ranges::find(op.attributes, it->first, &AttributeSpec::name) != op.attributes.end() &&
        std::ranges::find(kOwnAttributes, it->first) == std::end(kOwnAttributes);
    if (!known && !ChangesNothing(node.op, it->first, it->second)) {
      return Unimplemented(Graph::Describe(node) + ": the attribute '" + it->first +
                           "' is not supported at its value");
    }
    it = known ? std::next(it) : node.attributes.erase(it);
  }
  return OkStatus();
}

}  // namespace

Result<const Value*> NodeTranslation::Input(size_t index) const {
  if (!has_input(index)) return Error("input " + std::to_string(index) + " is missing");
  return &graph_.value(node.inputs[index]);
}

std::optional<Constant> NodeTranslation::TakeTensor(std::string_view name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return std::nullopt;
  std::optional<Constant> taken(std::move(found->second));
  tensors.erase(found);
  return taken;
}

Status NodeTranslation::RequireInt(std::string_view name, int64_t value,
                                   std::string_view otherwise) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t actual, TakeOr<int64_t>(name, value));
  if (actual == value) return OkStatus();
  return Unsupported("the attribute '" + std::string(name) + "' is " + std::to_string(actual) +
                     "; " + std::string(otherwise));
}

ValueId NodeTranslation::AddConstant(std::string_view suffix, Constant constant) {
  return graph_.AddConstant(node.name + "/" + std::string(suffix), std::move(constant));
}

ValueId NodeTranslation::AddInts(std::string_view suffix, const std::vector<int64_t>& values) {
  return AddConstant(suffix, Constant::Of<int64_t>({static_cast<Dim>(values.size())}, values));
}

void NodeTranslation::SetInput(size_t index, ValueId id) {
  if (node.inputs.size() <= index) node.inputs.resize(index + 1, kNoValue);
  node.inputs[index] = id;
}

Status NodeTranslation::Emit(Node added) {
  if (added.name.empty()) added.name = node.name;
  const OpDef* op = FindOp(added.op);
  if (op == nullptr) {
    return Unimplemented(Graph::Describe(added) + ": this operator is not supported");
  }
  VERDICT_RETURN_IF_ERROR(DropUnknownAttributes(added, *op));
  VERDICT_RETURN_IF_ERROR(VerifyNode(added));
  VERDICT_RETURN_IF_ERROR(inference_.Visit(added));
  graph_.nodes.push_back(std::move(added));
  return OkStatus();
}

Result<ValueId> NodeTranslation::EmitValue(std::string op, std::vector<ValueId> inputs,
                                           Attributes attributes) {
  const ValueId output = graph_.AddValue(node.name + "/" + op, DataType::kUndefined, {});
  VERDICT_RETURN_IF_ERROR(Emit({.op = std::move(op),
                                .inputs = std::move(inputs),
                                .outputs = {output},
                                .attributes = std::move(attributes)}));
  return output;
}

void NodeTranslation::SetConstantOutput(size_t index, Constant constant) {
  if (!has_output(index)) return;
  Value& value = graph_.value(node.outputs[index]);
  value.dtype = constant.dtype;
  value.shape = constant.shape;
  value.constant = std::make_shared<const Constant>(std::move(constant));
}

void NodeTranslation::RefuseOutput(size_t index, std::string reason) {
  if (!has_output(index)) return;
  refused_outputs.emplace(node.outputs[index], Graph::Describe(node) + ": " + std::move(reason));
  node.outputs[index] = kNoValue;
  while (!node.outputs.empty() && node.outputs.back() == kNoValue) node.outputs.pop_back();
}

Status NodeTranslation::Error(std::string message, std::source_location place) const {
  return InvalidArgument(Graph::Describe(node) + ": " + std::move(message), place);
}

Status NodeTranslation::Unsupported(std::string message, std::source_location place) const {
  return Unimplemented(Graph::Describe(node) + ": " + std::move(message), place);
}

Status NodeTranslation::WrongType(std::string_view name) const {
  return Error("the attribute '" + std::string(name) + "' has the wrong type");
}

}  // namespace verdict
