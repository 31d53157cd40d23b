#pragma once

#include <google/protobuf/map.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "inference.pb.h"
#include "serve/grpc/control.h"

namespace verdict {

// Translations of the methods whose messages have another shape than the endpoint's JSON: maps of
// typed values. See ControlMethod.

/// {"parameters":{…}}, bytes in Base64 as over HTTP.
Status WriteRepositoryParameters(
    const google::protobuf::Map<std::string, inference::ModelRepositoryParameter>& parameters,
    std::string* json);

Status SystemStatusRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status SystemStatusResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes);
Status SystemRegisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status SystemUnregisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status CudaStatusRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status CudaStatusResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes);
Status CudaRegisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status CudaUnregisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status TraceRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status TraceResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes);
Status LogRequest(const grpc::ByteBuffer& bytes, ControlCall* call);
Status LogResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes);

}  // namespace verdict
