#include "serve/tls/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <string_view>
#include <utility>

#include "base/file.h"

namespace verdict {
namespace {

constexpr size_t kMaxPemBytes = size_t{4} << 20;
constexpr size_t kMaxNameBytes = 256;

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr BioOf(const std::string& text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  VERDICT_CHECK(bio != nullptr);
  return bio;
}

/// Instead of OpenSSL's, which asks at the terminal.
int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

std::string Date(int64_t unix_time) {
  const auto time = static_cast<std::time_t>(unix_time);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

int64_t UnixTimeOf(const ASN1_TIME* time) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return 0;
  return timegm(&utc);
}

void AddName(std::string_view kind, const ASN1_STRING* value, std::vector<std::string>* names) {
  if (names->size() >= kMaxCertificateNames) return;
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, value);
  if (length < 0) return;
  const std::string_view text(reinterpret_cast<const char*>(utf8), static_cast<size_t>(length));
  // A NUL in the middle has fooled many a reader of certificates.
  const bool plain = std::ranges::none_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (plain && !text.empty() && text.size() <= kMaxNameBytes) {
    names->push_back(std::string(kind) + std::string(text));
  }
  OPENSSL_free(utf8);
}

}  // namespace

void OpenSslDeleter::operator()(X509* certificate) const { X509_free(certificate); }
void OpenSslDeleter::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

std::string TakeOpenSslReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason == nullptr ? "" : reason;
  ERR_clear_error();
  return text;
}

Result<std::vector<CertificatePtr>> ReadCertificates(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxPemBytes));
  const BioPtr bio = BioOf(text);
  std::vector<CertificatePtr> certificates;
  bool asked = false;
  while (true) {
    CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, &asked));
    if (certificate == nullptr) break;
    certificates.push_back(std::move(certificate));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = TakeOpenSslReason();
  if (!at_end) {
    return InvalidArgument(path.string() + ": certificate " +
                           std::to_string(certificates.size() + 1) + " is damaged: " + reason);
  }
  if (certificates.empty()) {
    return InvalidArgument(
        path.string() + ": no certificate in PEM form is in there (-----BEGIN CERTIFICATE-----)");
  }
  return certificates;
}

Result<PrivateKeyPtr> ReadPrivateKey(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(std::string text, ReadSmallFile(path, kMaxPemBytes));
  const BioPtr bio = BioOf(text);
  bool asked = false;
  PrivateKeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &asked));
  OPENSSL_cleanse(text.data(), text.size());
  const std::string reason = TakeOpenSslReason();
  if (asked) {
    return InvalidArgument(path.string() +
                           ": the private key is encrypted; store it decrypted (openssl pkey), "
                           "readable by the server's user only");
  }
  if (key == nullptr) {
    return InvalidArgument(path.string() + ": no private key in PEM form is in there: " + reason);
  }
  return key;
}

Status CheckValidity(const X509* certificate, int64_t now_s) {
  const int64_t begins = UnixTimeOf(X509_get0_notBefore(certificate));
  const int64_t ends = ExpiryOf(certificate);
  if (now_s >= ends) return FailedPrecondition("the certificate has expired on " + Date(ends));
  if (now_s < begins) {
    return FailedPrecondition("the certificate is not valid before " + Date(begins) +
                              "; is this machine's clock right?");
  }
  return OkStatus();
}

int64_t ExpiryOf(const X509* certificate) { return UnixTimeOf(X509_get0_notAfter(certificate)); }

std::vector<std::string> VerifiedClientNames(const SSL* ssl) {
  std::vector<std::string> names;
  const CertificatePtr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return names;
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;) {
    AddName("cn:", X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)), &names);
  }
  auto* others = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(others); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(others, i);
    if (name->type == GEN_DNS) AddName("dns:", name->d.dNSName, &names);
    if (name->type == GEN_URI) AddName("uri:", name->d.uniformResourceIdentifier, &names);
    if (name->type == GEN_EMAIL) AddName("email:", name->d.rfc822Name, &names);
  }
  GENERAL_NAMES_free(others);
  ERR_clear_error();
  return names;
}

}  // namespace verdict
