#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>

#include "base/status.h"
#include "serve/http/body_buffer.h"

namespace verdict {

/// A control call's message has at most so many bytes, inflated. Tensors do not go this way.
inline constexpr size_t kMaxControlMessageBytes = size_t{1} << 20;

/// Whether the client has compressed the message: gRPC leaves that to us (see SetLimits).
bool IsCompressed(const grpc::ByteBuffer& bytes);

/// Undoes the compression of a message, gzip or deflate (zlib's format).
///
/// max_bytes: how many may come out, against bombs.
/// inflated: points into `memory`.
/// Errors: kInvalidArgument (not in that format, or cut off), kResourceExhausted (more than
/// max_bytes, or no memory).
Status InflateMessage(const grpc::ByteBuffer& compressed, size_t max_bytes, BodyBuffer* memory,
                      grpc::ByteBuffer* inflated);

/// How much memory the message takes once it is parsed, at most, without parsing it: two bytes on
/// the wire can be a tensor, which takes hundreds.
///
/// Errors: kInvalidArgument (not such a message, or absurdly many messages within it).
/// Cost: that of skipping over its fields.
Result<size_t> ParsedBytes(const grpc::ByteBuffer& bytes, const google::protobuf::Descriptor& type);

/// Parses gRPC's bytes, which are not compressed. Errors: kInvalidArgument (not such a message).
Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// Reads a control call's message, compressed or not. Errors: kInvalidArgument (not such a
/// message), kResourceExhausted (over kMaxControlMessageBytes).
Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// Writes a message into one piece of gRPC's memory. Errors: kResourceExhausted (over 2 GiB, which
/// a message cannot have).
Status WriteMessage(const google::protobuf::MessageLite& message, grpc::ByteBuffer* bytes);

}  // namespace verdict
