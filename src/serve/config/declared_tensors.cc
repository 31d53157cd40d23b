#include "serve/config/declared_tensors.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "serve/endpoints/datatype.h"

namespace verdict {
namespace {

std::string ShapeText(std::span<const int64_t> dims) {
  std::string text;
  for (const int64_t extent : dims) text += (text.empty() ? "" : ",") + std::to_string(extent);
  return "[" + text + "]";
}

Status Differs(const DeclaredTensor& declared, const std::string& what) {
  return FailedPrecondition(declared.place + ": " + what +
                            "; correct it or leave it out: the engine file says this");
}

Status Check(const DeclaredTensor& declared, std::span<const TensorSpec> specs, const char* kind,
             bool batched) {
  const auto spec = std::ranges::find(specs, declared.name, &TensorSpec::name);
  if (spec == specs.end()) {
    std::string names;
    for (const TensorSpec& known : specs) names += (names.empty() ? "" : ", ") + known.name;
    return Differs(declared, "the engine has no " + std::string(kind) + " '" + declared.name +
                                 "', but " + names);
  }
  const std::string type = ConfigTypeName(spec->dtype);
  if (!declared.data_type.empty() && declared.data_type != type) {
    return Differs(declared, "data_type of '" + declared.name + "' is " + declared.data_type +
                                 ", but the engine's is " + type);
  }
  const auto dims = spec->shape.dims();
  const auto own = batched && !dims.empty() ? dims.subspan(1) : dims;
  if (declared.dims.has_value() && !std::ranges::equal(*declared.dims, own)) {
    return Differs(declared, "dims of '" + declared.name + "' are " + ShapeText(*declared.dims) +
                                 ", but the engine's are " + ShapeText(own) +
                                 (batched ? " without the batch" : ""));
  }
  return OkStatus();
}

}  // namespace

Status CheckDeclaredTensors(const ModelConfig& config, const Engine& engine) {
  const bool batched = config.max_batch_size > 0;
  for (const DeclaredTensor& input : config.inputs) {
    VERDICT_RETURN_IF_ERROR(Check(input, engine.inputs(), "input", batched));
  }
  for (const DeclaredTensor& output : config.outputs) {
    VERDICT_RETURN_IF_ERROR(Check(output, engine.outputs(), "output", batched));
  }
  if (!config.sequence_batching.has_value()) return OkStatus();
  for (const SequenceState& state : config.sequence_batching->state) {
    // Whether there is such an input is the scheduler's to say, as for every state.
    if (state.declared.data_type.empty() && !state.declared.dims.has_value()) continue;
    VERDICT_RETURN_IF_ERROR(Check(state.declared, engine.inputs(), "input", batched));
  }
  return OkStatus();
}

}  // namespace verdict
