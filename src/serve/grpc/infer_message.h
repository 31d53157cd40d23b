#pragma once

#include <span>
#include <vector>

#include "base/status.h"
#include "inference.pb.h"
#include "runtime/engine.h"
#include "serve/endpoints/infer_request.h"

namespace verdict {

/// Reads a gRPC inference request, with the checks and the words of the JSON form.
///
/// message: raw contents and most typed contents are read in place.
/// inputs, outputs: the engine's, in order; a shape has -1 where it may vary.
/// buffers: memory for tensors that cannot be read in place; grows to one an input.
/// request: valid as long as `message` and `buffers` stay as they are. Its outputs are all binary.
/// Errors: kInvalidArgument naming the field; kUnimplemented (shared memory, classification);
/// kResourceExhausted (no memory).
Status ReadInferMessage(const inference::ModelInferRequest& message,
                        std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs,
                        std::vector<TensorBuffer>* buffers, InferRequest* request);

}  // namespace verdict
