#include "onnx/opset_table.h"

namespace verdict {
namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

template <typename T>
Constant List(const std::vector<T>& values) {
  return Constant::Of<T>({static_cast<Dim>(values.size())}, values);
}

template <typename T>
Constant Scalar(T value) {
  return Constant::Of<T>({}, std::span<const T>(&value, 1));
}

}  // namespace

Status LowerScaler(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Floats offset, translation.TakeOr<Floats>("offset", {0}));
  VERDICT_ASSIGN_OR_RETURN(const Floats scale, translation.TakeOr<Floats>("scale", {1}));
  translation.SetInput(1, translation.AddConstant("offset", List(offset)));
  translation.SetInput(2, translation.AddConstant("scale", List(scale)));
  return translation.EmitNode();
}

// There are two sets of attributes; the type of the features tells which one counts.
Status LowerImputer(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const DataType dtype = input->dtype;
  VERDICT_ASSIGN_OR_RETURN(const Floats floats,
                           translation.TakeOr<Floats>("imputed_value_floats", {}));
  VERDICT_ASSIGN_OR_RETURN(const Ints ints, translation.TakeOr<Ints>("imputed_value_int64s", {}));
  VERDICT_ASSIGN_OR_RETURN(const float replaced_float,
                           translation.TakeOr<float>("replaced_value_float", 0));
  VERDICT_ASSIGN_OR_RETURN(const int64_t replaced_int,
                           translation.TakeOr<int64_t>("replaced_value_int64", 0));
  Constant values;
  Constant replaced;
  if (dtype == DataType::kInt64) {
    values = List(ints);
    replaced = Scalar(replaced_int);
  } else if (dtype == DataType::kFloat64) {
    values = List(std::vector<double>(floats.begin(), floats.end()));
    replaced = Scalar(double{replaced_float});
  } else {
    values = List(floats);
    replaced = Scalar(replaced_float);
  }
  translation.SetInput(1, translation.AddConstant("values", std::move(values)));
  translation.SetInput(2, translation.AddConstant("replaced", std::move(replaced)));
  return translation.EmitNode();
}

Status LowerOneHotEncoder(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Ints ints, translation.TakeOr<Ints>("cats_int64s", {}));
  VERDICT_ASSIGN_OR_RETURN(Strings strings, translation.TakeOr<Strings>("cats_strings", {}));
  if (ints.empty() == strings.empty()) {
    return translation.Error("needs categories in exactly one of 'cats_int64s' and 'cats_strings'");
  }
  const auto count = static_cast<Dim>(strings.size());
  translation.SetInput(
      1,
      translation.AddConstant(
          "cats", strings.empty() ? List(ints) : Constant::OfStrings({count}, std::move(strings))));
  return translation.EmitNode();
}

// Indices of any other shape count as a list.
Status LowerArrayFeatureExtractor(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Value* indices, translation.Input(1));
  const Shape& shape = indices->shape;
  const bool is_list = shape.rank() == 1 || (shape.rank() == 2 && shape[0] == 1);
  if (!is_list) {
    const ValueId target = translation.AddInts("shape", {-1});
    VERDICT_ASSIGN_OR_RETURN(
        const ValueId list, translation.EmitValue("Reshape", {translation.node.inputs[1], target}));
    translation.SetInput(1, list);
  }
  return translation.EmitNode();
}

}  // namespace verdict
