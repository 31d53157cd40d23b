#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace verdict {

/// A certificate and its key, made for a test.
struct TestIdentity {
  X509* certificate = nullptr;
  EVP_PKEY* key = nullptr;
  ~TestIdentity() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  TestIdentity() = default;
  TestIdentity(const TestIdentity&) = delete;
  TestIdentity& operator=(const TestIdentity&) = delete;
};

struct TestNames {
  std::string common_name;
  std::string alternative;  // "DNS:localhost,IP:127.0.0.1"
  long begins_s = -3600;    // from now
  long ends_s = 3600;
};

/// Signed by `issuer`, or by itself, as a CA, for null.
inline void MakeIdentity(const TestNames& names, const TestIdentity* issuer, TestIdentity* made) {
  static long serial = 1;
  made->key = EVP_EC_gen("P-256");
  made->certificate = X509_new();
  X509* certificate = made->certificate;
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), names.begins_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), names.ends_s);
  X509_set_pubkey(certificate, made->key);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(names.common_name.data()),
                             static_cast<int>(names.common_name.size()), -1, 0);
  X509* signer = issuer == nullptr ? certificate : issuer->certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  X509V3_CTX context;
  X509V3_set_ctx(&context, signer, certificate, nullptr, nullptr, 0);
  const auto add = [&](int kind, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (issuer == nullptr) {
    add(NID_basic_constraints, "critical,CA:TRUE");
    add(NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  if (!names.alternative.empty()) add(NID_subject_alt_name, names.alternative);
  X509_sign(certificate, issuer == nullptr ? made->key : issuer->key, EVP_sha256());
}

/// PEM files in a folder that goes with the test.
class CertificateFolder {
 public:
  CertificateFolder() {
    std::string pattern = testing::TempDir() + "/certificates.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~CertificateFolder() { std::filesystem::remove_all(folder_); }

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

  /// Writes NAME.crt and NAME.key, replacing what was there.
  void Write(const std::string& name, const TestIdentity& identity) const {
    const auto replace = [&](const std::string& file, auto write) {
      const std::filesystem::path path = folder_ / file;
      const std::string temporary = path.string() + ".new";
      std::FILE* out = std::fopen(temporary.c_str(), "w");
      write(out);
      std::fclose(out);
      std::filesystem::rename(temporary, path);
    };
    replace(name + ".crt", [&](std::FILE* out) { PEM_write_X509(out, identity.certificate); });
    replace(name + ".key", [&](std::FILE* out) {
      PEM_write_PrivateKey(out, identity.key, nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace verdict
