#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/status.h"

namespace verdict {

Sha256Digest Sha256(std::span<const std::span<const std::byte>> parts) {
  // EVP_sha256() would look the implementation up, under a lock, with every call.
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  VERDICT_CHECK(context != nullptr && algorithm != nullptr);
  VERDICT_CHECK(EVP_DigestInit_ex2(context, algorithm, nullptr) == 1);
  for (const auto& part : parts) {
    VERDICT_CHECK(EVP_DigestUpdate(context, part.data(), part.size()) == 1);
  }
  Sha256Digest digest;
  VERDICT_CHECK(
      EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1);
  EVP_MD_CTX_free(context);
  return digest;
}

std::string ToHex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 0xF];
  }
  return text;
}

}  // namespace verdict
