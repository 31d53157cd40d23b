#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <span>
#include <string_view>

#include "base/status.h"
#include "ir/types.h"
#include "runtime/engine.h"
#include "serve/endpoints/infer_request.h"

namespace verdict {

/// What the answers to requests of one kind look like.
enum class InferAnswerForm {
  kUnary,        // a ModelInferResponse
  kStream,       // a ModelStreamInferResponse
  kStreamFinal,  // the same, marked as the last response of its request
};

/// Writes an inference response straight into gRPC's memory, all outputs as raw_output_contents or
/// into shared memory.
///
/// served_by: LoadedModel::ServedBy. A stream's answer carries it as a parameter (it has no
/// metadata
///   of its own); empty: nothing is said.
/// specs, results: the engine's outputs and their values, in the engine's order.
/// Errors: kInternal (a tensor that the protocol cannot carry), kResourceExhausted (over 2 GiB);
/// those of SharedMemoryRange::WriteTensor.
Status WriteInferAnswer(std::string_view model, std::string_view version,
                        const InferRequest& request, std::span<const TensorSpec> specs,
                        std::span<const TensorView> results, InferAnswerForm form,
                        std::string_view served_by, grpc::ByteBuffer* answer);

/// Writes the response of a stream to a request that failed. id: the request's, which the client
/// tells it by.
void WriteInferError(const Status& status, std::string_view id, grpc::ByteBuffer* answer);

}  // namespace verdict
