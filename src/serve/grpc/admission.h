#pragma once

#include <grpcpp/server_context.h>

#include <chrono>
#include <string_view>

#include "serve/admission/gate.h"

namespace verdict {

/// Asks the gate for a call over gRPC: its token is in the metadata "authorization", its names in
/// the certificate.
Refusal EnterGate(Gate& gate, const grpc::ServerContextBase& context, Role needed,
                  Gate::Clock::time_point now, Admission* admission);

/// Tells the client when to come again, in the trailing metadata that gRPC's own retries heed:
/// "grpc-retry-pushback-ms". 0: says nothing.
void AddRetryHint(std::chrono::milliseconds retry_after, grpc::ServerContextBase* context);

/// A value of the call's metadata; empty if there is none, or several.
std::string_view MetadataOf(const grpc::ServerContextBase& context, const char* key);

}  // namespace verdict
