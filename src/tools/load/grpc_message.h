#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/load/infer_inputs.h"

namespace verdict::load {

/// What all gRPC requests of a run have in common.
struct GrpcRequestOptions {
  std::string model;
  std::string version;    // empty: the server's choice
  uint64_t priority = 0;  // the protocol's "priority" parameter; 0: none
};

/// A ModelInferRequest with these tensors as raw bytes, serialised. Errors: as AppendRawTensor.
Result<std::string> GrpcInferRequest(const RequestInputs& inputs,
                                     const GrpcRequestOptions& options);

/// The protocol's "timeout" parameter, serialised, to be appended to a request: what is appended is
/// part of the message.
std::string GrpcTimeoutParameter(int64_t timeout_us);

/// A ModelMetadataRequest, serialised.
std::string GrpcMetadataRequest(const std::string& model, const std::string& version);

/// The inputs of a serialised ModelMetadataResponse. Errors: kInvalidArgument: not such a message,
/// or an unknown datatype.
Result<std::vector<InputSpec>> ParseGrpcMetadata(std::string_view bytes);

/// The error of a serialised ModelStreamInferResponse; empty if the request went well.
std::string GrpcStreamError(std::string_view bytes);

}  // namespace verdict::load
