#include <limits>

#include "onnx/opset_table.h"

// Attributes of old versions that became inputs.

namespace verdict {
namespace {

/// Moves a list of whole numbers from an attribute to input `index`; leaves it out if it is absent.
Status ListToInput(NodeTranslation& translation, std::string_view name, size_t index) {
  VERDICT_ASSIGN_OR_RETURN(const auto values, translation.Take<std::vector<int64_t>>(name));
  if (translation.has_input(index)) {
    return translation.Error("has too many inputs for this version of the operator");
  }
  if (values.has_value()) translation.SetInput(index, translation.AddInts(name, *values));
  return OkStatus();
}

/// As ListToInput, for a list the operator cannot do without.
Status RequiredListToInput(NodeTranslation& translation, std::string_view name, size_t index) {
  if (!translation.Has(name)) {
    return translation.Error("the attribute '" + std::string(name) + "' is missing");
  }
  return ListToInput(translation, name, index);
}

/// A scalar of the element type of input 0.
Result<ValueId> ScalarLikeInput(NodeTranslation& translation, std::string_view suffix,
                                float value) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  if (input->dtype == DataType::kFloat32) {
    return translation.AddConstant(suffix, Constant::Of<float>({}, {{value}}));
  }
  if (input->dtype == DataType::kFloat64) {
    return translation.AddConstant(suffix, Constant::Of<double>({}, {{double{value}}}));
  }
  return translation.Unsupported(
      "at this operator set version only float and double inputs are "
      "supported; export with opset 13 or newer");
}

}  // namespace

// Squeeze, Unsqueeze and the reductions.
Status TranslateAxes(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(ListToInput(translation, "axes", 1));
  return translation.EmitNode();
}

Status TranslateSlice1(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(RequiredListToInput(translation, "starts", 1));
  VERDICT_RETURN_IF_ERROR(RequiredListToInput(translation, "ends", 2));
  VERDICT_RETURN_IF_ERROR(ListToInput(translation, "axes", 3));
  return translation.EmitNode();
}

Status TranslatePad2(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(RequiredListToInput(translation, "pads", 1));
  VERDICT_ASSIGN_OR_RETURN(const float value, translation.TakeOr("value", 0.0f));
  VERDICT_ASSIGN_OR_RETURN(const ValueId id, ScalarLikeInput(translation, "value", value));
  translation.SetInput(2, id);
  return translation.EmitNode();
}

Status TranslateSplit2(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(ListToInput(translation, "split", 1));
  return TranslateSplit13(translation);
}

// Without sizes, equal parts, one per output; version 18 wants their number said.
Status TranslateSplit13(NodeTranslation& translation) {
  if (translation.Has("num_outputs")) {
    return translation.Error("the attribute 'num_outputs' needs operator set 18");
  }
  if (translation.has_input(1)) return translation.EmitNode();
  const auto parts = static_cast<int64_t>(translation.node.outputs.size());
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  VERDICT_ASSIGN_OR_RETURN(int64_t axis, translation.TakeOr<int64_t>("axis", 0));
  if (axis < 0) axis += input->shape.rank();
  if (axis < 0 || axis >= input->shape.rank()) {
    return translation.Error("axis " + std::to_string(axis) + " is out of range for shape " +
                             ToString(input->shape));
  }
  const Dim extent = input->shape[static_cast<int>(axis)];
  if (parts == 0 || (!IsSymbol(extent) && extent % parts != 0)) {
    return translation.Error("cannot split " + std::to_string(extent) + " into " +
                             std::to_string(parts) + " equal parts");
  }
  translation.node.attributes["axis"] = axis;
  translation.node.attributes["num_outputs"] = parts;
  return translation.EmitNode();
}

Status TranslateTopK1(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const auto k, translation.Take<int64_t>("k"));
  if (!k.has_value()) return translation.Error("the attribute 'k' is missing");
  translation.SetInput(1, translation.AddInts("k", {*k}));
  return translation.EmitNode();
}

Status TranslateClip6(NodeTranslation& translation) {
  using Limits = std::numeric_limits<float>;
  VERDICT_ASSIGN_OR_RETURN(const float min, translation.TakeOr("min", Limits::lowest()));
  VERDICT_ASSIGN_OR_RETURN(const float max, translation.TakeOr("max", Limits::max()));
  VERDICT_ASSIGN_OR_RETURN(const ValueId min_id, ScalarLikeInput(translation, "min", min));
  VERDICT_ASSIGN_OR_RETURN(const ValueId max_id, ScalarLikeInput(translation, "max", max));
  translation.SetInput(1, min_id);
  translation.SetInput(2, max_id);
  return translation.EmitNode();
}

}  // namespace verdict
