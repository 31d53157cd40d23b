#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/sha256.h"
#include "base/status.h"
#include "serve/admission/principal.h"

namespace verdict {

/// The file of who may do what, as YAML:
///
///     tokens:
///       - name: checkout
///         sha256: 9f86d081…               # of the token; `verdict token` makes both
///         roles: [infer]
///         expires: 2027-06-30T00:00:00Z   # optional; or a day, which ends the token as it begins
///     certificates:
///       - name: settlement
///         subject: dns:settle.example     # or cn:, uri:, email:, as the certificate says it
///         roles: [infer, admin]
///     anonymous: [metrics]                # optional: roles of callers without credentials
///
/// Two tokens of one name let a token be replaced without a gap.
inline constexpr size_t kMaxClientsFileBytes = size_t{4} << 20;
inline constexpr size_t kMaxClientNameBytes = 64;

/// "2027-06-30" or "2027-06-30T12:00:00Z" as Unix time; none if it is neither.
std::optional<int64_t> ParseExpiry(std::string_view text);

/// A token of the file: only its hash is known.
struct TokenEntry {
  Principal principal;
  Sha256Digest sha256{};
  int64_t expires_s = std::numeric_limits<int64_t>::max();  // Unix time; from then on it is refused
};

/// The file in memory. Immutable.
class ClientTable {
 public:
  /// Reads the text of a clients file.
  ///
  /// Errors: kInvalidArgument with the line and the key; a value is never repeated, since it may be
  /// a secret in the wrong place.
  /// Threads: pure.
  static Result<std::shared_ptr<const ClientTable>> Parse(std::string_view text);

  /// Reads the file. Errors: those of Parse and of the file system, with the path;
  /// kFailedPrecondition if users other than owner and group may write it.
  static Result<std::shared_ptr<const ClientTable>> Load(const std::filesystem::path& path);

  /// The token with that hash, or null. Cost: O(1). The whole hash is compared in constant time.
  const TokenEntry* FindToken(const Sha256Digest& sha256) const;
  /// Who that name ("dns:settle.example") of a verified certificate stands for, or null.
  const Principal* FindCertificate(const std::string& subject) const;
  Roles anonymous() const { return anonymous_; }
  size_t num_tokens() const { return tokens_.size(); }
  size_t num_certificates() const { return certificates_.size(); }

 private:
  friend class ClientsFileReader;
  struct FirstBytes {  // of a hash, which are as good as random
    size_t operator()(const Sha256Digest& sha256) const;
  };
  struct SameDigest {
    bool operator()(const Sha256Digest& a, const Sha256Digest& b) const;
  };
  std::unordered_map<Sha256Digest, TokenEntry, FirstBytes, SameDigest> tokens_;
  std::unordered_map<std::string, Principal> certificates_;
  Roles anonymous_;
};

}  // namespace verdict
