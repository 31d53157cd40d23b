#pragma once

#include <openssl/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

inline constexpr std::string_view kSignatureFileName = "manifest.sig";

/// Signs with an Ed25519 key. The text is one line: "ed25519 KEY-ID SIGNATURE", the id the first 16
/// digits of the raw public key's SHA-256, the signature 64 bytes in base64.
class SigningKey {
 public:
  /// Reads a PEM file as `openssl genpkey -algorithm ed25519` writes it. Errors: kNotFound,
  /// kInvalidArgument (no such key in it, or an encrypted one), kUnavailable.
  static Result<SigningKey> Load(const std::filesystem::path& pem);
  std::string Sign(std::string_view bytes) const;
  const std::string& id() const { return id_; }

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::string id_;
};

/// The public keys whose signatures count. Immutable. Threads: any.
class TrustedKeys {
 public:
  /// Reads PEM files as `openssl pkey -pubout` writes them. Errors: as SigningKey::Load.
  static Result<TrustedKeys> Load(const std::vector<std::string>& pem_files);
  bool empty() const { return keys_.empty(); }

  /// Returns: the id of the key that signed `bytes`. Errors: kPermissionDenied (another key's
  /// signature, or a wrong one), kInvalidArgument (`signature` is none).
  Result<std::string> Verify(std::string_view bytes, std::string_view signature) const;

 private:
  struct Key {
    std::string id;
    std::shared_ptr<EVP_PKEY> key;
  };
  std::vector<Key> keys_;
};

}  // namespace verdict
