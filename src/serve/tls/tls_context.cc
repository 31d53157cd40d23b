#include "serve/tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>

#include "base/unix_time.h"
#include "serve/tls/certificate.h"

namespace verdict {
namespace {

/// Forward secrecy and authenticated encryption only; of TLS 1.3 all are.
constexpr char kCiphers12[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!kRSA:!PSK:!SRP";
constexpr char kGroups[] = "X25519:P-256:P-384";
/// Certificates between a client's and its CA's, all included.
constexpr int kMaxChainDepth = 5;
/// A session is resumed without looking at the certificate again: not for too long.
constexpr long kSessionSeconds = 3600;

int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_length,
                   const unsigned char* offered, unsigned int offered_length, void* ours) {
  const auto& spoken = *static_cast<const std::vector<unsigned char>*>(ours);
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, spoken.data(),
                            static_cast<unsigned>(spoken.size()), offered,
                            offered_length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Status CheckOptions(const TlsOptions& options) {
  if (options.certificate_chain.empty() || options.private_key.empty()) {
    return InvalidArgument("TLS needs both a certificate and its private key");
  }
  if (options.client_auth != ClientAuth::kNone && options.client_ca.empty()) {
    return InvalidArgument("to verify clients' certificates TLS needs the CA that signs them");
  }
  if (options.client_auth == ClientAuth::kNone && !options.client_ca.empty()) {
    return InvalidArgument(
        "a CA for clients is given, but clients are not asked for certificates: set client "
        "authentication to optional or required, or leave the CA out");
  }
  return OkStatus();
}

/// Certificate chain and key.
Status UseIdentity(const TlsOptions& options, SSL_CTX* context, int64_t* expires_s) {
  const std::string path = options.certificate_chain.string();
  VERDICT_ASSIGN_OR_RETURN(const auto chain, ReadCertificates(options.certificate_chain));
  VERDICT_ASSIGN_OR_RETURN(const PrivateKeyPtr key, ReadPrivateKey(options.private_key));
  for (const CertificatePtr& certificate : chain) {
    if (Status status = CheckValidity(certificate.get(), UnixTime()); !status.ok()) {
      return status.WithContext(path);
    }
  }
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    return InvalidArgument(path + ": cannot be used: " + TakeOpenSslReason());
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return InvalidArgument(path + ": certificate " + std::to_string(i + 1) +
                             " cannot be used: " + TakeOpenSslReason());
    }
  }
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return InvalidArgument(options.private_key.string() + ": is not the key of the certificate " +
                           path + ", which must be the first in its file");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return InvalidArgument(options.private_key.string() +
                           ": cannot be used: " + TakeOpenSslReason());
  }
  *expires_s = ExpiryOf(chain.front().get());
  return OkStatus();
}

/// Who may sign clients' certificates.
Status UseClientCa(const TlsOptions& options, SSL_CTX* context, int64_t* expires_s) {
  if (options.client_auth == ClientAuth::kNone) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(const auto authorities, ReadCertificates(options.client_ca));
  bool any_valid = false;
  for (const CertificatePtr& authority : authorities) {
    if (CheckValidity(authority.get(), UnixTime()).ok()) {
      const int64_t end = ExpiryOf(authority.get());
      *expires_s = any_valid ? std::min(*expires_s, end) : end;
      any_valid = true;
    }
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return InvalidArgument(options.client_ca.string() +
                             ": cannot be used: " + TakeOpenSslReason());
    }
  }
  if (!any_valid) {
    return CheckValidity(authorities.front().get(), UnixTime())
        .WithContext(options.client_ca.string());
  }
  SSL_CTX_set_verify(context,
                     options.client_auth == ClientAuth::kRequired
                         ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                         : SSL_VERIFY_PEER,
                     nullptr);
  SSL_CTX_set_verify_depth(context, kMaxChainDepth);
  return OkStatus();
}

}  // namespace

std::vector<std::filesystem::path> TlsOptions::files() const {
  std::vector<std::filesystem::path> named;
  for (const auto& file : {certificate_chain, private_key, client_ca}) {
    if (!file.empty()) named.push_back(file);
  }
  return named;
}

TlsContext::TlsContext(const TlsOptions& options, std::vector<std::string> alpn)
    : options_(options) {
  for (const std::string& protocol : alpn) {
    VERDICT_CHECK(!protocol.empty() && protocol.size() < 256);
    alpn_.push_back(static_cast<unsigned char>(protocol.size()));
    alpn_.insert(alpn_.end(), protocol.begin(), protocol.end());
  }
}

Result<std::shared_ptr<TlsContext>> TlsContext::Load(const TlsOptions& options,
                                                     std::vector<std::string> alpn) {
  VERDICT_RETURN_IF_ERROR(CheckOptions(options));
  // OpenSSL writes to sockets without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  std::shared_ptr<TlsContext> made(new TlsContext(options, std::move(alpn)));
  VERDICT_RETURN_IF_ERROR(made->Reload());
  return made;
}

Status TlsContext::Reload() {
  VERDICT_ASSIGN_OR_RETURN(Loaded loaded, Read());
  std::lock_guard lock(mutex_);
  std::swap(loaded_, loaded);
  return OkStatus();
}

Result<TlsContext::Loaded> TlsContext::Read() const {
  ERR_clear_error();
  Loaded loaded;
  // With its own copy of the protocols: connections may keep it longer than this object lives.
  auto protocols = std::make_shared<std::vector<unsigned char>>(alpn_);
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) {
    return ResourceExhausted("no memory for TLS: " + TakeOpenSslReason());
  }
  loaded.context =
      std::shared_ptr<SSL_CTX>(context, [protocols](SSL_CTX* last) { SSL_CTX_free(last); });
  const bool configured =
      SSL_CTX_set_min_proto_version(
          context, options_.min_version == TlsVersion::k13 ? TLS1_3_VERSION : TLS1_2_VERSION) ==
          1 &&
      SSL_CTX_set_cipher_list(context, kCiphers12) == 1 &&
      SSL_CTX_set1_groups_list(context, kGroups) == 1;
  VERDICT_CHECK(configured);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // Buffers are given back while a connection is idle, which most are.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);
  // Sessions live in the tickets that clients keep, encrypted under a key that ends with this
  // context: memory is bounded, and what an older certificate or CA let in must show itself anew.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessionContext[] = "verdict";
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof(kSessionContext) - 1);
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_timeout(context, kSessionSeconds);
  if (!protocols->empty()) SSL_CTX_set_alpn_select_cb(context, SelectProtocol, protocols.get());
  VERDICT_RETURN_IF_ERROR(UseIdentity(options_, context, &loaded.expires_s));
  VERDICT_RETURN_IF_ERROR(UseClientCa(options_, context, &loaded.client_ca_expires_s));
  return loaded;
}

std::shared_ptr<SSL_CTX> TlsContext::Current() const {
  std::lock_guard lock(mutex_);
  return loaded_.context;
}

int64_t TlsContext::client_ca_expires_s() const {
  std::lock_guard lock(mutex_);
  return loaded_.client_ca_expires_s;
}

int64_t TlsContext::expires_s() const {
  std::lock_guard lock(mutex_);
  return loaded_.expires_s;
}

}  // namespace verdict
