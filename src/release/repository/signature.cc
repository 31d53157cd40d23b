#include "release/repository/signature.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"

namespace verdict {
namespace {

constexpr size_t kMaxPemBytes = 16'384;
constexpr size_t kKeyBytes = 32;
constexpr size_t kSignatureBytes = 64;
constexpr size_t kBase64Bytes = 88;
constexpr size_t kIdDigits = 16;
constexpr std::string_view kAlgorithm = "ed25519";

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// Never asks for a password.
int NoPassword(char*, int, int, void*) { return -1; }

/// Reads a key by `read`, one of PEM_read_bio_*. Errors: as SigningKey::Load.
template <typename Read>
Result<std::shared_ptr<EVP_PKEY>> ReadKey(const std::filesystem::path& pem, Read read,
                                          const char* kind, const char* make) {
  VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(pem, kMaxPemBytes));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  VERDICT_CHECK(bio != nullptr);
  std::shared_ptr<EVP_PKEY> key(read(bio.get(), nullptr, NoPassword, nullptr), EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
    return InvalidArgument(pem.string() + ": holds no " + kind +
                           " Ed25519 key in PEM; make one by `" + make + "`");
  }
  return key;
}

std::string IdOf(EVP_PKEY* key) {
  std::array<unsigned char, kKeyBytes> raw{};
  size_t size = raw.size();
  VERDICT_CHECK(EVP_PKEY_get_raw_public_key(key, raw.data(), &size) == 1 && size == raw.size());
  const auto bytes = std::as_bytes(std::span(raw));
  const std::array<std::span<const std::byte>, 1> parts{bytes};
  return ToHex(Sha256(parts)).substr(0, kIdDigits);
}

struct Context {
  EVP_MD_CTX* get = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(get); }
};

}  // namespace

Result<SigningKey> SigningKey::Load(const std::filesystem::path& pem) {
  SigningKey key;
  VERDICT_ASSIGN_OR_RETURN(key.key_, ReadKey(pem, PEM_read_bio_PrivateKey, "private",
                                             "openssl genpkey -algorithm ed25519 -out KEY.pem"));
  key.id_ = IdOf(key.key_.get());
  return key;
}

std::string SigningKey::Sign(std::string_view bytes) const {
  std::array<unsigned char, kSignatureBytes> signature{};
  size_t size = signature.size();
  const Context context;
  VERDICT_CHECK(context.get != nullptr &&
                EVP_DigestSignInit(context.get, nullptr, nullptr, nullptr, key_.get()) == 1 &&
                EVP_DigestSign(context.get, signature.data(), &size, Bytes(bytes), bytes.size()) ==
                    1 &&
                size == signature.size());
  std::array<unsigned char, kBase64Bytes + 1> base64{};
  EVP_EncodeBlock(base64.data(), signature.data(), static_cast<int>(size));
  return std::string(kAlgorithm) + " " + id_ + " " +
         std::string(base64.begin(), base64.begin() + kBase64Bytes) + "\n";
}

Result<TrustedKeys> TrustedKeys::Load(const std::vector<std::string>& pem_files) {
  TrustedKeys trusted;
  for (const std::string& file : pem_files) {
    VERDICT_ASSIGN_OR_RETURN(auto key, ReadKey(file, PEM_read_bio_PUBKEY, "public",
                                               "openssl pkey -in KEY.pem -pubout -out KEY.pub"));
    std::string id = IdOf(key.get());
    trusted.keys_.push_back({std::move(id), std::move(key)});
  }
  return trusted;
}

Result<std::string> TrustedKeys::Verify(std::string_view bytes, std::string_view signature) const {
  constexpr size_t kIdAt = kAlgorithm.size() + 1;
  constexpr size_t kBase64At = kIdAt + kIdDigits + 1;
  if (signature.ends_with('\n')) signature.remove_suffix(1);
  std::array<unsigned char, kBase64Bytes> raw{};
  if (signature.size() != kBase64At + kBase64Bytes || !signature.starts_with("ed25519 ") ||
      signature[kBase64At - 1] != ' ' || !signature.ends_with("==") ||
      EVP_DecodeBlock(raw.data(), Bytes(signature.substr(kBase64At)), kBase64Bytes) < 0) {
    return InvalidArgument(std::string(kSignatureFileName) +
                           ": is not a line of 'ed25519 KEY-ID SIGNATURE'");
  }
  const std::string_view id = signature.substr(kIdAt, kIdDigits);
  for (const Key& key : keys_) {
    if (key.id != id) continue;
    const Context context;
    VERDICT_CHECK(context.get != nullptr &&
                  EVP_DigestVerifyInit(context.get, nullptr, nullptr, nullptr, key.key.get()) == 1);
    if (EVP_DigestVerify(context.get, raw.data(), kSignatureBytes, Bytes(bytes), bytes.size()) ==
        1) {
      return key.id;
    }
    return PermissionDenied("its manifest is not what key " + key.id + " has signed");
  }
  return PermissionDenied(
      "it is signed by a key that is not trusted; add the public key to "
      "repository.trusted_keys if it should be");
}

}  // namespace verdict
