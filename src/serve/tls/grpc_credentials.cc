#include "serve/tls/grpc_credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>

#include "serve/tls/certificate.h"

namespace verdict {

Result<std::shared_ptr<grpc::ServerCredentials>> MakeGrpcCredentials(const TlsOptions& options) {
  if (options.min_version == TlsVersion::k13) {
    return Unimplemented(
        "gRPC cannot be held to TLS 1.3; allow TLS 1.2 on its port, or turn the port off");
  }
  VERDICT_RETURN_IF_ERROR(TlsContext::Load(options, {"h2"}).status());
  const auto seconds = static_cast<unsigned>(std::max<int64_t>(options.reload.count(), 1));
  const bool asks_clients = options.client_auth != ClientAuth::kNone;
  grpc::experimental::TlsServerCredentialsOptions made(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          options.private_key.string(), options.certificate_chain.string(),
          asks_clients ? options.client_ca.string() : std::string(), seconds));
  made.watch_identity_key_cert_pairs();
  if (asks_clients) made.watch_root_certs();
  made.set_cert_request_type(options.client_auth == ClientAuth::kNone
                                 ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                             : options.client_auth == ClientAuth::kOptional
                                 ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                 : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  std::shared_ptr<grpc::ServerCredentials> credentials =
      grpc::experimental::TlsServerCredentials(made);
  if (credentials == nullptr) return Internal("gRPC refuses the TLS options without a reason");
  return credentials;
}

std::vector<std::string> ClientNamesOf(const grpc::AuthContext& context) {
  std::vector<std::string> names;
  if (!context.IsPeerAuthenticated()) return names;
  const auto add = [&](const char* property, const char* kind) {
    for (const grpc::string_ref& value : context.FindPropertyValues(property)) {
      const std::string text(value.data(), value.size());
      const bool plain = std::ranges::none_of(
          text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
      if (plain && !text.empty() && names.size() < kMaxCertificateNames) {
        names.push_back(kind + text);
      }
    }
  };
  add("x509_common_name", "cn:");
  add("peer_dns", "dns:");
  add("peer_uri", "uri:");
  add("peer_email", "email:");
  return names;
}

}  // namespace verdict
