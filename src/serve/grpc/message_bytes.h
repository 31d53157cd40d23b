#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/status.h"

namespace verdict {

/// Parses gRPC's bytes. Errors: kInvalidArgument (not such a message).
Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// Writes a message into one piece of gRPC's memory. Errors: kResourceExhausted (over 2 GiB, which
/// a message cannot have).
Status WriteMessage(const google::protobuf::MessageLite& message, grpc::ByteBuffer* bytes);

}  // namespace verdict
