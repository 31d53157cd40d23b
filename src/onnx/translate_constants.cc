#include "onnx/opset_table.h"

namespace verdict {
namespace {

template <typename T>
Constant Scalar(T value) {
  return Constant::Of<T>({}, std::span<const T>(&value, 1));
}

template <typename T>
Constant List(const std::vector<T>& values) {
  return Constant::Of<T>({static_cast<Dim>(values.size())}, values);
}

}  // namespace

Status TranslateConstant(NodeTranslation& translation) {
  if (auto tensor = translation.TakeTensor("value")) {
    translation.SetConstantOutput(0, *std::move(tensor));
    return OkStatus();
  }
  if (translation.node.attributes.size() != 1) {
    return translation.Error("needs exactly one value");
  }
  const auto& [name, attribute] = *translation.node.attributes.begin();
  const auto* i = std::get_if<int64_t>(&attribute);
  const auto* f = std::get_if<float>(&attribute);
  const auto* s = std::get_if<std::string>(&attribute);
  const auto* ints = std::get_if<std::vector<int64_t>>(&attribute);
  const auto* floats = std::get_if<std::vector<float>>(&attribute);
  const auto* strings = std::get_if<std::vector<std::string>>(&attribute);
  if (name == "value_int" && i != nullptr) {
    translation.SetConstantOutput(0, Scalar(*i));
  } else if (name == "value_float" && f != nullptr) {
    translation.SetConstantOutput(0, Scalar(*f));
  } else if (name == "value_string" && s != nullptr) {
    translation.SetConstantOutput(0, Constant::OfStrings({}, {*s}));
  } else if (name == "value_ints" && ints != nullptr) {
    translation.SetConstantOutput(0, List(*ints));
  } else if (name == "value_floats" && floats != nullptr) {
    translation.SetConstantOutput(0, List(*floats));
  } else if (name == "value_strings" && strings != nullptr) {
    translation.SetConstantOutput(
        0, Constant::OfStrings({static_cast<Dim>(strings->size())}, *strings));
  } else {
    return translation.Error("the attribute '" + name + "' is no value of a constant");
  }
  return OkStatus();
}

// Our operator takes the value as its second input.
Status TranslateConstantOfShape(NodeTranslation& translation) {
  Constant value = translation.TakeTensor("value").value_or(Scalar(0.0f));
  if (value.dtype == DataType::kString || value.view().size() != 1) {
    return translation.Error("the attribute 'value' must be one number");
  }
  value.shape = {};
  translation.SetInput(1, translation.AddConstant("value", std::move(value)));
  return translation.EmitNode();
}

}  // namespace verdict
