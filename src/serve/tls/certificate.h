#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

extern "C" {
using EVP_PKEY = struct evp_pkey_st;
using SSL = struct ssl_st;
using X509 = struct x509_st;
}

namespace verdict {

struct OpenSslDeleter {
  void operator()(X509* certificate) const;
  void operator()(EVP_PKEY* key) const;
};
using CertificatePtr = std::unique_ptr<X509, OpenSslDeleter>;
using PrivateKeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDeleter>;

/// The certificates of a PEM file, one or more. Errors: with the file's name; kNotFound,
/// kUnavailable, kInvalidArgument.
Result<std::vector<CertificatePtr>> ReadCertificates(const std::filesystem::path& path);

/// The private key of a PEM file. Errors: as above; never a part of the key.
Result<PrivateKeyPtr> ReadPrivateKey(const std::filesystem::path& path);

/// Errors: kFailedPrecondition: `now_s` (Unix time) is not within the certificate's time.
Status CheckValidity(const X509* certificate, int64_t now_s);

/// When it ends, as Unix time.
int64_t ExpiryOf(const X509* certificate);

/// The names of the certificate that the client of this connection has shown and that was verified:
/// "cn:…" of the subject, then "dns:…", "uri:…", "email:…" of the alternative names. Empty if there
/// is none. Names with control characters are left out; at most kMaxCertificateNames.
std::vector<std::string> VerifiedClientNames(const SSL* ssl);
inline constexpr size_t kMaxCertificateNames = 64;

/// OpenSSL's reason for the last error of this thread, which is forgotten; "" if there is none.
std::string TakeOpenSslReason();

}  // namespace verdict
