#include "onnx/features.h"

#include <algorithm>

#include "onnx/proto.h"

namespace verdict {

Result<ValueId> FeatureMatrix(NodeTranslation& translation, bool keep_double) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const DataType dtype = input->dtype;
  const int rank = input->shape.rank();
  if (rank != 1 && rank != 2) {
    return translation.Error("needs a matrix of features, but input 0 has the shape " +
                             ToString(input->shape));
  }
  ValueId x = translation.node.inputs[0];
  const bool fits = dtype == DataType::kFloat32 || (keep_double && dtype == DataType::kFloat64);
  if (!fits) {
    if (dtype != DataType::kFloat64 && dtype != DataType::kInt64 && dtype != DataType::kInt32) {
      return translation.Error("needs features of type f32, f64, i64 or i32, but input 0 is " +
                               std::string(DataTypeName(dtype)));
    }
    VERDICT_ASSIGN_OR_RETURN(
        x, translation.EmitValue("Cast", {x}, {{"to", int64_t{onnx::TensorProto::FLOAT}}}));
  }
  if (rank == 1) {
    VERDICT_ASSIGN_OR_RETURN(
        x, translation.EmitValue("Unsqueeze", {x, translation.AddInts("rows", {0})}));
  }
  return x;
}

Result<Constant> TakeLabels(NodeTranslation& translation, std::string_view ints_name,
                            std::string_view strings_name) {
  VERDICT_ASSIGN_OR_RETURN(const auto ints,
                           translation.TakeOr<std::vector<int64_t>>(ints_name, {}));
  VERDICT_ASSIGN_OR_RETURN(auto strings,
                           translation.TakeOr<std::vector<std::string>>(strings_name, {}));
  if (ints.empty() == strings.empty()) {
    return translation.Error("needs labels in exactly one of '" + std::string(ints_name) +
                             "' and '" + std::string(strings_name) + "'");
  }
  const auto classes = static_cast<Dim>(std::max(ints.size(), strings.size()));
  if (classes < 2) return translation.Unsupported("a classifier with one class is not supported");
  if (strings.empty()) return Constant::Of<int64_t>({classes}, ints);
  return Constant::OfStrings({classes}, std::move(strings));
}

}  // namespace verdict
