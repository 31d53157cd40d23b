#include "serve/admission/clients_file.h"

#include <openssl/crypto.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "base/file.h"

namespace verdict {
namespace {

/// The message names line and key; values may be secrets and stay out of it.
Status BadLine(const YAML::Mark& mark, const std::string& what) {
  if (mark.line < 0) return InvalidArgument(what);
  return InvalidArgument("line " + std::to_string(mark.line + 1) + ": " + what);
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '@';
}

std::optional<Sha256Digest> ParseHex(std::string_view text) {
  Sha256Digest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    unsigned value = 0;
    const char* begin = text.data() + 2 * i;
    const auto [stop, error] = std::from_chars(begin, begin + 2, value, 16);
    if (error != std::errc() || stop != begin + 2) return std::nullopt;
    digest[i] = static_cast<std::byte>(value);
  }
  return digest;
}

/// A number of exactly so many digits at `*text`, which it is taken from.
std::optional<int> TakeDigits(std::string_view* text, size_t count) {
  if (text->size() < count) return std::nullopt;
  int value = 0;
  for (char c : text->substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(count);
  return value;
}

bool TakeCharacter(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

bool IsSubject(std::string_view text) {
  for (std::string_view kind : {"cn:", "dns:", "uri:", "email:"}) {
    if (text.starts_with(kind) && text.size() > kind.size()) return true;
  }
  return false;
}

}  // namespace

std::optional<int64_t> ParseExpiry(std::string_view text) {
  using namespace std::chrono;
  const auto y = TakeDigits(&text, 4);
  if (!y || !TakeCharacter(&text, '-')) return std::nullopt;
  const auto m = TakeDigits(&text, 2);
  if (!m || !TakeCharacter(&text, '-')) return std::nullopt;
  const auto d = TakeDigits(&text, 2);
  if (!d) return std::nullopt;
  const year_month_day date(year(*y), month(static_cast<unsigned>(*m)),
                            day(static_cast<unsigned>(*d)));
  if (!date.ok()) return std::nullopt;
  const int64_t midnight = duration_cast<seconds>(sys_days(date).time_since_epoch()).count();
  if (text.empty()) return midnight;
  if (!TakeCharacter(&text, 'T')) return std::nullopt;
  const auto hours = TakeDigits(&text, 2);
  if (!hours || !TakeCharacter(&text, ':')) return std::nullopt;
  const auto minutes = TakeDigits(&text, 2);
  if (!minutes || !TakeCharacter(&text, ':')) return std::nullopt;
  const auto second = TakeDigits(&text, 2);
  if (!second || text != "Z" || *hours > 23 || *minutes > 59 || *second > 59) return std::nullopt;
  return midnight + *hours * 3600 + *minutes * 60 + *second;
}

/// Turns YAML's nodes into a table.
class ClientsFileReader {
 public:
  Result<std::shared_ptr<const ClientTable>> Read(const YAML::Node& root) {
    if (!root.IsMap()) {
      return BadLine(root.Mark(), "expected the keys tokens, certificates, anonymous");
    }
    VERDICT_RETURN_IF_ERROR(CheckKeys(root, {"tokens", "certificates", "anonymous"}));
    VERDICT_RETURN_IF_ERROR(ReadList(root["tokens"], "tokens", &ClientsFileReader::ReadToken));
    VERDICT_RETURN_IF_ERROR(
        ReadList(root["certificates"], "certificates", &ClientsFileReader::ReadCertificate));
    if (const YAML::Node anonymous = root["anonymous"]) {
      VERDICT_ASSIGN_OR_RETURN(table_->anonymous_, ReadRoles(anonymous, "anonymous"));
      if (table_->anonymous_.Has(Role::kAdmin)) {
        return BadLine(anonymous.Mark(), "anonymous: callers without credentials cannot be admin");
      }
    }
    return std::shared_ptr<const ClientTable>(std::move(table_));
  }

 private:
  static Status CheckKeys(const YAML::Node& map, std::initializer_list<std::string_view> known) {
    std::vector<std::string> seen;
    for (const auto& entry : map) {
      const YAML::Mark mark = entry.first.Mark();
      if (!entry.first.IsScalar() || std::ranges::count(known, entry.first.Scalar()) == 0) {
        std::string names;
        for (std::string_view name : known)
          names += (names.empty() ? "" : ", ") + std::string(name);
        return BadLine(mark, "unknown key; the keys here are " + names);
      }
      if (std::ranges::count(seen, entry.first.Scalar()) != 0) {
        return BadLine(mark, entry.first.Scalar() + ": given twice");
      }
      seen.push_back(entry.first.Scalar());
    }
    return OkStatus();
  }

  Status ReadList(const YAML::Node& list, const std::string& key,
                  Status (ClientsFileReader::*read)(const YAML::Node&)) {
    if (!list || list.IsNull()) return OkStatus();
    if (!list.IsSequence()) return BadLine(list.Mark(), key + ": expected a list");
    for (const auto& entry : list) {
      if (!entry.IsMap()) return BadLine(entry.Mark(), key + ": expected entries of keys");
      if (Status status = (this->*read)(entry); !status.ok()) return status;
    }
    return OkStatus();
  }

  static Result<std::string> ReadText(const YAML::Node& map, const char* key) {
    const YAML::Node value = map[key];
    if (!value) return BadLine(map.Mark(), std::string(key) + ": is missing");
    if (!value.IsScalar()) return BadLine(value.Mark(), std::string(key) + ": expected text");
    return value.Scalar();
  }

  static Result<Principal> ReadPrincipal(const YAML::Node& map) {
    Principal principal;
    VERDICT_ASSIGN_OR_RETURN(principal.name, ReadText(map, "name"));
    if (principal.name.empty() || principal.name.size() > kMaxClientNameBytes ||
        !std::ranges::all_of(principal.name, IsNameCharacter)) {
      return BadLine(map["name"].Mark(),
                     "name: expected 1 to " + std::to_string(kMaxClientNameBytes) +
                         " letters, digits, dots, underscores, hyphens or at-signs");
    }
    const YAML::Node roles = map["roles"];
    if (!roles) return BadLine(map.Mark(), "roles: is missing");
    VERDICT_ASSIGN_OR_RETURN(principal.roles, ReadRoles(roles, "roles"));
    return principal;
  }

  static Result<Roles> ReadRoles(const YAML::Node& list, const std::string& key) {
    if (!list.IsSequence()) return BadLine(list.Mark(), key + ": expected a list, as [infer]");
    Roles roles;
    for (const auto& entry : list) {
      if (!entry.IsScalar()) return BadLine(entry.Mark(), key + ": expected names of roles");
      Result<Role> role = ParseRole(entry.Scalar());
      if (!role.ok()) return BadLine(entry.Mark(), key + ": " + role.status().message());
      roles = roles | Roles{*role};
    }
    if (roles.empty()) return BadLine(list.Mark(), key + ": is empty");
    return roles;
  }

  Status ReadToken(const YAML::Node& map) {
    VERDICT_RETURN_IF_ERROR(CheckKeys(map, {"name", "sha256", "roles", "expires"}));
    TokenEntry token;
    VERDICT_ASSIGN_OR_RETURN(token.principal, ReadPrincipal(map));
    VERDICT_ASSIGN_OR_RETURN(const std::string hex, ReadText(map, "sha256"));
    const auto digest = ParseHex(hex);
    if (!digest.has_value()) {
      return BadLine(
          map["sha256"].Mark(),
          "sha256: expected 64 hexadecimal digits, the hash that `verdict token` printed "
          "beside the token");
    }
    token.sha256 = *digest;
    if (map["expires"]) {
      VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadText(map, "expires"));
      const auto time = ParseExpiry(text);
      if (!time.has_value()) {
        return BadLine(map["expires"].Mark(),
                       "expires: expected a time as 2027-06-30T00:00:00Z or a day as 2027-06-30");
      }
      token.expires_s = *time;
    }
    if (!table_->tokens_.emplace(token.sha256, token).second) {
      return BadLine(map.Mark(), "sha256: this token is in the file twice");
    }
    return OkStatus();
  }

  Status ReadCertificate(const YAML::Node& map) {
    VERDICT_RETURN_IF_ERROR(CheckKeys(map, {"name", "subject", "roles"}));
    VERDICT_ASSIGN_OR_RETURN(Principal principal, ReadPrincipal(map));
    VERDICT_ASSIGN_OR_RETURN(std::string subject, ReadText(map, "subject"));
    if (!IsSubject(subject)) {
      return BadLine(map["subject"].Mark(),
                     "subject: expected cn:, dns:, uri: or email: and a name of the certificate");
    }
    if (!table_->certificates_.emplace(std::move(subject), std::move(principal)).second) {
      return BadLine(map.Mark(), "subject: this certificate is in the file twice");
    }
    return OkStatus();
  }

  std::shared_ptr<ClientTable> table_ = std::make_shared<ClientTable>();
};

size_t ClientTable::FirstBytes::operator()(const Sha256Digest& sha256) const {
  size_t value;
  std::memcpy(&value, sha256.data(), sizeof(value));
  return value;
}

bool ClientTable::SameDigest::operator()(const Sha256Digest& a, const Sha256Digest& b) const {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Result<std::shared_ptr<const ClientTable>> ClientTable::Parse(std::string_view text) {
  if (text.size() > kMaxClientsFileBytes) {
    return InvalidArgument("larger than the " + std::to_string(kMaxClientsFileBytes) +
                           " bytes that a clients file may have");
  }
  try {
    return ClientsFileReader().Read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    // Not error.what(), which quotes the file.
    return BadLine(error.mark, "not well-formed YAML");
  }
}

Result<std::shared_ptr<const ClientTable>> ClientTable::Load(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxClientsFileBytes));
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0) {
    return FailedPrecondition(path.string() +
                              ": every user of this machine may write it, and so let anyone in; "
                              "chmod o-w");
  }
  Result<std::shared_ptr<const ClientTable>> table = Parse(text);
  if (!table.ok()) return table.status().WithContext(path.string());
  return table;
}

const TokenEntry* ClientTable::FindToken(const Sha256Digest& sha256) const {
  const auto it = tokens_.find(sha256);
  return it == tokens_.end() ? nullptr : &it->second;
}

const Principal* ClientTable::FindCertificate(const std::string& subject) const {
  const auto it = certificates_.find(subject);
  return it == certificates_.end() ? nullptr : &it->second;
}

}  // namespace verdict
