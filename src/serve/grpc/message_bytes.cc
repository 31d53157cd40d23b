#include "serve/grpc/message_bytes.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <grpc/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "serve/http/inflate.h"

/// gRPC declares this friend of its buffers and leaves its definition to whom it may concern: the
/// only way to learn whether a message is compressed.
class grpc::internal::GrpcByteBufferPeer {
 public:
  static grpc_byte_buffer* CBuffer(const grpc::ByteBuffer& bytes) { return bytes.buffer_; }
};

namespace verdict {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

Status NotSuch(const std::string& type) { return InvalidArgument("the request is no " + type); }

Status TooLarge(size_t max_bytes) {
  return ResourceExhausted("the message is larger than " + std::to_string(max_bytes) +
                           " bytes; send less at a time");
}

/// The reader takes no const buffer, but only reads.
grpc::ByteBuffer* ForReader(const grpc::ByteBuffer& bytes) {
  return const_cast<grpc::ByteBuffer*>(&bytes);
}

/// Adds up what the fields of a message take in memory.
class FieldSizes {
 public:
  explicit FieldSizes(CodedInputStream& in) : in_(in) {}

  /// Returns: false if the bytes are no such message.
  bool Add(const Descriptor& type) {
    bytes_ += kMessageBytes;
    if (++messages_ > kMostMessages) return true;
    while (const uint32_t tag = in_.ReadTag()) {
      const FieldDescriptor* const field = type.FindFieldByNumber(static_cast<int>(tag >> 3));
      if (!AddField(tag & 7, field)) return false;
      if (too_many()) return true;
    }
    return true;
  }
  size_t bytes() const { return bytes_; }
  bool too_many() const { return messages_ > kMostMessages; }

  // With the arena's blocks and arrays that have grown.
  static constexpr size_t kMessageBytes = 256;
  static constexpr size_t kStringBytes = 64;
  static constexpr size_t kNumberBytes = 16;
  static constexpr size_t kMostMessages = 65'536;  // inputs, outputs and parameters

 private:
  bool AddField(uint32_t wire_type, const FieldDescriptor* field) {
    uint64_t number = 0;
    uint32_t length = 0;
    switch (wire_type) {
      case 0:
        bytes_ += kNumberBytes;
        return in_.ReadVarint64(&number);
      case 1:
        bytes_ += kNumberBytes;
        return in_.Skip(8);
      case 5:
        bytes_ += kNumberBytes;
        return in_.Skip(4);
      case 2:
        return in_.ReadVarint32(&length) && length <= std::numeric_limits<int>::max() &&
               AddBytes(static_cast<int>(length), field);
      default:
        return false;  // groups: there are none in these messages
    }
  }

  bool AddBytes(int length, const FieldDescriptor* field) {
    const auto bytes = static_cast<size_t>(length);
    if (field != nullptr && field->message_type() != nullptr) {
      const auto limit = in_.PushLimit(length);
      const bool read = Add(*field->message_type()) && (too_many() || in_.BytesUntilLimit() == 0);
      in_.PopLimit(limit);
      return read;
    }
    const bool packed = field != nullptr && field->is_packable() && field->is_repeated();
    bytes_ += packed ? kNumberBytes * bytes / SmallestElement(*field) : kStringBytes + bytes;
    return in_.Skip(length);
  }

  /// Bytes on the wire.
  static size_t SmallestElement(const FieldDescriptor& field) {
    switch (field.type()) {
      case FieldDescriptor::TYPE_FLOAT:
      case FieldDescriptor::TYPE_FIXED32:
      case FieldDescriptor::TYPE_SFIXED32:
        return 4;
      case FieldDescriptor::TYPE_DOUBLE:
      case FieldDescriptor::TYPE_FIXED64:
      case FieldDescriptor::TYPE_SFIXED64:
        return 8;
      default:
        return 1;
    }
  }

  CodedInputStream& in_;
  size_t bytes_ = 0;
  size_t messages_ = 0;
};

}  // namespace

bool IsCompressed(const grpc::ByteBuffer& bytes) {
  const grpc_byte_buffer* const buffer = grpc::internal::GrpcByteBufferPeer::CBuffer(bytes);
  return buffer != nullptr && buffer->data.raw.compression != GRPC_COMPRESS_NONE;
}

Status InflateMessage(const grpc::ByteBuffer& compressed, size_t max_bytes, BodyBuffer* memory,
                      grpc::ByteBuffer* inflated) {
  grpc::Slice whole;
  if (!compressed.DumpToSingleSlice(&whole).ok()) return ResourceExhausted("no memory");
  memory->Start(0);
  Status status =
      Inflate({reinterpret_cast<const char*>(whole.begin()), whole.size()}, max_bytes, memory);
  if (status.code() == StatusCode::kOutOfRange) return TooLarge(max_bytes);
  if (status.code() == StatusCode::kInvalidArgument) {
    return InvalidArgument("the message is not what its grpc-encoding says, or cut off");
  }
  VERDICT_RETURN_IF_ERROR(std::move(status));
  const std::string_view text = memory->text();
  const grpc::Slice slice(text.data(), text.size(), grpc::Slice::STATIC_SLICE);
  grpc::ByteBuffer bytes(&slice, 1);
  inflated->Swap(&bytes);
  return OkStatus();
}

Result<size_t> ParsedBytes(const grpc::ByteBuffer& bytes, const Descriptor& type) {
  grpc::ProtoBufferReader reader(ForReader(bytes));
  CodedInputStream in(&reader);
  FieldSizes sizes(in);
  if (!reader.status().ok() || !sizes.Add(type)) return NotSuch(type.full_name());
  if (sizes.too_many()) {
    return InvalidArgument("the request has more than " +
                           std::to_string(FieldSizes::kMostMessages) +
                           " inputs, outputs and parameters");
  }
  return sizes.bytes();
}

Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  grpc::ProtoBufferReader reader(ForReader(bytes));
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return OkStatus();
  return NotSuch(message->GetTypeName());
}

Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  if (bytes.Length() > kMaxControlMessageBytes) return TooLarge(kMaxControlMessageBytes);
  if (!IsCompressed(bytes)) return ParseMessage(bytes, message);
  MemoryBudget budget(2 * kMaxControlMessageBytes);  // it grows by doubling
  BodyBuffer memory(budget);
  grpc::ByteBuffer inflated;
  VERDICT_RETURN_IF_ERROR(InflateMessage(bytes, kMaxControlMessageBytes, &memory, &inflated));
  return ParseMessage(inflated, message);
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
