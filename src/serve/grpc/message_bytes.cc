#include "serve/grpc/message_bytes.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <limits>
#include <string>

namespace verdict {

Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  // The reader takes no const buffer, but only reads.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return OkStatus();
  return InvalidArgument("the request is no " + message->GetTypeName());
}

Status WriteMessage(const google::protobuf::MessageLite& message, grpc::ByteBuffer* bytes) {
  const size_t size = message.ByteSizeLong();
  if (size > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return ResourceExhausted("the response has " + std::to_string(size) +
                             " bytes, more than a message can; ask for fewer rows or outputs");
  }
  const grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  grpc::ByteBuffer written(&slice, 1);
  bytes->Swap(&written);
  return OkStatus();
}

}  // namespace verdict
