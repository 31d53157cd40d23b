#include "serve/tls/grpc_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "serve/tls/certificate.h"

namespace verdict {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string TextOf(const Bio& bio) {
  char* data = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(bio.get(), &data));
  return {data, size};
}

/// What a context uses, as PEM. Empty texts: no memory.
struct Pem {
  std::string key;    // the server's
  std::string chain;  // its certificate first
  std::string authorities;

  explicit Pem(SSL_CTX* context) {
    const Bio key_out(BIO_new(BIO_s_mem()), BIO_free), chain_out(BIO_new(BIO_s_mem()), BIO_free),
        authorities_out(BIO_new(BIO_s_mem()), BIO_free);
    if (key_out == nullptr || chain_out == nullptr || authorities_out == nullptr) return;
    bool written = PEM_write_bio_PrivateKey(key_out.get(), SSL_CTX_get0_privatekey(context),
                                            nullptr, nullptr, 0, nullptr, nullptr) == 1 &&
                   PEM_write_bio_X509(chain_out.get(), SSL_CTX_get0_certificate(context)) == 1;
    STACK_OF(X509)* above = nullptr;
    SSL_CTX_get0_chain_certs(context, &above);
    for (int i = 0; i < sk_X509_num(above); ++i) {
      written = written && PEM_write_bio_X509(chain_out.get(), sk_X509_value(above, i)) == 1;
    }
    STACK_OF(X509_OBJECT)* trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
    for (int i = 0; i < sk_X509_OBJECT_num(trusted); ++i) {
      X509* authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i));
      if (authority == nullptr) continue;
      written = written && PEM_write_bio_X509(authorities_out.get(), authority) == 1;
    }
    if (!written) return;
    key = TextOf(key_out);
    chain = TextOf(chain_out);
    authorities = TextOf(authorities_out);
  }
};

grpc_ssl_client_certificate_request_type RequestOf(ClientAuth auth) {
  switch (auth) {
    case ClientAuth::kNone:
      return GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    case ClientAuth::kOptional:
      return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    case ClientAuth::kRequired:
      break;
  }
  return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
}

/// grpc++ has no credentials that ask for the certificates in use; gRPC below it has.
class ContextCredentials final : public grpc::ServerCredentials {
 public:
  explicit ContextCredentials(std::shared_ptr<const TlsContext> tls) : tls_(std::move(tls)) {}

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& processor) override {
    VERDICT_CHECK(processor == nullptr);  // admission has its own
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    grpc_server_credentials* made = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            RequestOf(tls_->options().client_auth), &ContextCredentials::Fetch, this));
    const int port = grpc_server_add_http2_port(server, address.c_str(), made);
    grpc_server_credentials_release(made);
    return port;
  }

  /// gRPC calls it before each handshake, on any thread.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    auto& credentials = *static_cast<ContextCredentials*>(self);
    const std::shared_ptr<SSL_CTX> current = credentials.tls_->Current();
    const std::lock_guard lock(credentials.mutex_);
    if (current == credentials.given_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const Pem pem(current.get());
    if (pem.key.empty()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    const grpc_ssl_pem_key_cert_pair pair = {pem.key.c_str(), pem.chain.c_str()};
    // It must be given roots even where no client is asked for a certificate: then they are unused.
    const std::string& roots = pem.authorities.empty() ? pem.chain : pem.authorities;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    if (*config == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    credentials.given_ = current;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<const TlsContext> tls_;
  std::mutex mutex_;                // guards given_
  std::shared_ptr<SSL_CTX> given_;  // what gRPC has
};

}  // namespace

Status CheckGrpcTls(const TlsOptions& options) {
  if (options.min_version != TlsVersion::k13) return OkStatus();
  return Unimplemented(
      "gRPC cannot be held to TLS 1.3: set tls.min_version to TLSv1.2, or turn gRPC off "
      "(grpc.enabled: false)");
}

Result<std::shared_ptr<grpc::ServerCredentials>> MakeGrpcCredentials(
    std::shared_ptr<const TlsContext> tls) {
  VERDICT_RETURN_IF_ERROR(CheckGrpcTls(tls->options()));
  return std::shared_ptr<grpc::ServerCredentials>(
      std::make_shared<ContextCredentials>(std::move(tls)));
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
