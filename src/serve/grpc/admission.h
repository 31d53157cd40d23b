#pragma once

#include <grpcpp/server_context.h>

#include <string_view>

#include "serve/admission/gate.h"

namespace verdict {

/// Asks the gate for a call over gRPC: its token is in the metadata "authorization", its names in
/// the certificate.
Refusal EnterGate(Gate& gate, const grpc::ServerContextBase& context, Role needed,
                  Gate::Clock::time_point now, Admission* admission);

/// A value of the call's metadata; empty if there is none, or several.
std::string_view MetadataOf(const grpc::ServerContextBase& context, const char* key);

}  // namespace verdict
