#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/tls/tls_context.h"

namespace verdict {

/// Errors: kUnimplemented: min_version 1.3, which this gRPC cannot be held to.
Status CheckGrpcTls(const TlsOptions& options);

/// Credentials of a gRPC server that uses what a context uses at each new connection. They must
/// outlive the server.
///
/// Errors: those of CheckGrpcTls.
Result<std::shared_ptr<grpc::ServerCredentials>> MakeGrpcCredentials(
    std::shared_ptr<const TlsContext> tls);

/// As VerifiedClientNames, of a call's auth_context(); empty if the client showed no certificate.
std::vector<std::string> ClientNamesOf(const grpc::AuthContext& context);

}  // namespace verdict
