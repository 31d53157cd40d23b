#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/tls/tls_context.h"

namespace verdict {

/// Credentials of a gRPC server made of the same files as HTTP's; gRPC looks at them itself every
/// `options.reload`. While they are no good pair then, it takes no new connections.
///
/// Errors: those of TlsContext::Load, which tries the files first, since gRPC would only log that
/// it cannot use them. kUnimplemented: min_version 1.3, which this gRPC cannot be held to. Threads:
/// any.
Result<std::shared_ptr<grpc::ServerCredentials>> MakeGrpcCredentials(const TlsOptions& options);

/// As VerifiedClientNames, of a call's auth_context(); empty if the client showed no certificate.
std::vector<std::string> ClientNamesOf(const grpc::AuthContext& context);

}  // namespace verdict
