#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "runtime/engine.h"
#include "serve/endpoints/infer_request.h"

namespace verdict {

/// Appends a tensor's elements as JSON, separated by commas, without brackets. Errors:
/// kInvalidArgument for what JSON cannot carry (NaN, infinity, bytes that are no text, FP16).
Status AppendJsonElements(std::string* out, const TensorView& tensor);

/// Appends an inference response of the Open Inference Protocol v2 to `body`: the JSON text, then
/// the raw tensors asked for in the binary form, in the order of the request's outputs.
///
/// specs, results: the engine's outputs and their values, in the engine's order.
/// json_bytes: set to the length of the JSON text if raw tensors follow it, else cleared.
/// Errors: kInvalidArgument naming the output, where JSON cannot carry a value (NaN, infinity,
/// bytes that are no text, FP16): the binary form can.
Status WriteInferResponse(std::string_view model, std::string_view version,
                          const InferRequest& request, std::span<const TensorSpec> specs,
                          std::span<const TensorView> results, std::string* body,
                          std::optional<size_t>* json_bytes);

}  // namespace verdict
