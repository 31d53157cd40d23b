#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/endpoints/endpoint.h"

namespace verdict {

/// A control call as the endpoint with the same meaning takes it.
struct ControlCall {
  Verb verb = Verb::kGet;
  std::string_view path;  // of the endpoint, as list.cc has it
  std::string name;       // the model's, or the region's; empty: none
  std::string version;
  std::string json;  // the body
};

/// How one method of the inference service is answered by an endpoint. The endpoint speaks JSON;
/// these translate.
struct ControlMethod {
  std::string_view name;  // "ServerLive"
  /// Errors: kInvalidArgument (not such a message), kUnimplemented.
  Status (*request)(const grpc::ByteBuffer& bytes, ControlCall* call);
  /// json: the endpoint's reply, where its status is OK. Errors: the status, where it is no answer;
  /// kInternal (a reply that does not fit the message).
  Status (*response)(const Status& status, std::string_view json, grpc::ByteBuffer* bytes);
};

/// The method of the inference service with that name, or null.
const ControlMethod* FindControlMethod(std::string_view name);

}  // namespace verdict
