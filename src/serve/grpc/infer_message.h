#pragma once

#include <span>
#include <vector>

#include "base/status.h"
#include "inference.pb.h"
#include "runtime/engine.h"
#include "serve/endpoints/infer_request.h"
#include "serve/memory_budget.h"

namespace verdict {

/// What requests may name in shared memory.
struct SharedMemorySource {
  const RegionRegistry* registry = nullptr;  // null: nothing
  MemoryShare* share = nullptr;              // what the copies are counted to; null: nothing
};

/// Reads a gRPC inference request, with the checks and the words of the JSON form.
///
/// message: raw contents and most typed contents are read in place.
/// inputs, outputs: the engine's, in order; a shape has -1 where it may vary.
/// memory: where tensors in shared memory are to be.
/// buffers: memory for tensors that cannot be read in place; grows to two an input.
/// pass_over_others: inputs that the engine does not have are passed over, not refused.
/// request: valid as long as `message` and `buffers` stay as they are. Its outputs are all binary,
///   or in shared memory.
/// Errors: kInvalidArgument naming the field; kUnimplemented (classification); those of
/// FindSharedMemory; kResourceExhausted (no memory).
Status ReadInferMessage(const inference::ModelInferRequest& message,
                        std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs,
                        const SharedMemorySource& memory, std::vector<TensorBuffer>* buffers,
                        InferRequest* request, bool pass_over_others = false);

}  // namespace verdict
