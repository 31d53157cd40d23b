#include <cstring>

#include "onnx/opset_table.h"

namespace verdict {

// Softmax, LogSoftmax and Hardmax before operator set 13 work on the input flattened to two
// dimensions at `axis`.
Status TranslateSoftmax1(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const int64_t rank = input->shape.rank();
  VERDICT_ASSIGN_OR_RETURN(int64_t axis, translation.TakeOr<int64_t>("axis", 1));
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) {
    return translation.Error("axis " + std::to_string(axis) + " is out of range for shape " +
                             ToString(input->shape));
  }
  if (axis == rank - 1) {
    translation.node.attributes["axis"] = int64_t{-1};
    return translation.EmitNode();
  }
  const ValueId x = translation.node.inputs[0];
  VERDICT_ASSIGN_OR_RETURN(const ValueId shape, translation.EmitValue("Shape", {x}));
  VERDICT_ASSIGN_OR_RETURN(const ValueId flat,
                           translation.EmitValue("Flatten", {x}, {{"axis", axis}}));
  VERDICT_ASSIGN_OR_RETURN(
      const ValueId y, translation.EmitValue(translation.node.op, {flat}, {{"axis", int64_t{-1}}}));
  // Any extent may be zero: it is itself, not "as in the input".
  return translation.Emit({.op = "Reshape",
                           .inputs = {y, shape},
                           .outputs = translation.node.outputs,
                           .attributes = {{"allowzero", int64_t{1}}}});
}

Status TranslateDropout7(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.Take<float>("ratio").status());
  translation.RefuseOutput(1, "the mask of a dropout layer exists in training only");
  translation.node.op = "Identity";
  return translation.EmitNode();
}

Status TranslateDropout12(NodeTranslation& translation) {
  if (translation.has_input(2)) {
    const Constant* training = translation.ConstantInput(2);
    if (training == nullptr || training->dtype != DataType::kBool || training->view().size() != 1 ||
        training->view().as<const bool>()[0]) {
      return translation.Unsupported(
          "dropout is switched on, as in training; export the model for inference (in PyTorch: "
          "model.eval())");
    }
  }
  VERDICT_RETURN_IF_ERROR(translation.Take<int64_t>("seed").status());
  translation.node.inputs.resize(std::min<size_t>(translation.node.inputs.size(), 1));
  return TranslateDropout7(translation);
}

Status TranslateBatchNormalization(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.RequireInt(
      "training_mode", 0, "export the model for inference (in PyTorch: model.eval())"));
  VERDICT_RETURN_IF_ERROR(
      translation.RequireInt("spatial", 1, "statistics per position are not supported"));
  VERDICT_RETURN_IF_ERROR(translation.Take<float>("momentum").status());
  for (size_t i = translation.node.outputs.size(); i > 1; --i) {
    translation.RefuseOutput(i - 1, "running statistics exist in training only");
  }
  return translation.EmitNode();
}

namespace {

/// Repeats each of `per_group`'s values for the channels of its group.
Constant RepeatPerChannel(const Constant& per_group, Dim channels) {
  auto [constant, data] = Constant::Allocate(per_group.dtype, {channels});
  const size_t size = ElementSize(per_group.dtype);
  const Dim repeats = channels / per_group.shape[0];
  for (Dim channel = 0; channel < channels; ++channel) {
    std::memcpy(static_cast<std::byte*>(data) + static_cast<size_t>(channel) * size,
                static_cast<const std::byte*>(per_group.data) +
                    static_cast<size_t>(channel / repeats) * size,
                size);
  }
  return constant;
}

}  // namespace

// Before operator set 21 scale and bias are per group, since then per channel.
Status TranslateGroupNormalization18(NodeTranslation& translation) {
  constexpr Dim kMaxChannels = 1 << 20;
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const Dim channels = input->shape.rank() > 1 ? input->shape[1] : -1;
  for (size_t i : {size_t{1}, size_t{2}}) {
    const Constant* per_group = translation.ConstantInput(i);
    if (per_group == nullptr || per_group->shape.rank() != 1 || channels < 1 ||
        channels > kMaxChannels) {
      return translation.Unsupported(
          "before operator set 21 this is supported with constant scale and bias and a known "
          "number of channels; export with opset 21 or newer");
    }
    const Dim groups = per_group->shape[0];
    if (groups < 1 || channels % groups != 0) {
      return translation.Error(std::to_string(channels) + " channels do not fall into " +
                               std::to_string(groups) + " groups");
    }
    translation.SetInput(i, translation.AddConstant(i == 1 ? "scale" : "bias",
                                                    RepeatPerChannel(*per_group, channels)));
  }
  return translation.EmitNode();
}

Status TranslateScatter9(NodeTranslation& translation) {
  translation.node.op = "ScatterElements";
  return translation.EmitNode();
}

// Scores stay a matrix, one column a class; a list of maps is no use to anybody but Python.
Status TranslateZipMap(NodeTranslation& translation) {
  VERDICT_RETURN_IF_ERROR(translation.Take<std::vector<int64_t>>("classlabels_int64s").status());
  VERDICT_RETURN_IF_ERROR(
      translation.Take<std::vector<std::string>>("classlabels_strings").status());
  translation.node.op = "Identity";
  return translation.EmitNode();
}

}  // namespace verdict
