#include "serve/admission/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <utility>

namespace verdict {
namespace {

/// Longer is no token of ours; hashing it would only cost time.
constexpr size_t kMaxTokenBytes = 512;

size_t ThreadNumber() {
  static std::atomic<size_t> next{0};
  thread_local const size_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

std::shared_ptr<const Principal> Nobody(Roles roles) {
  auto principal = std::make_shared<Principal>();
  principal->roles = roles;
  return principal;
}

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

}  // namespace

Roles RolesWithoutCredentials(ListenerKind listener, const AuthOptions& options) {
  if (!options.clients_file.empty()) return {};
  switch (listener) {
    case ListenerKind::kInference:
      return options.admin_on_inference_port ? Roles{Role::kInfer, Role::kAdmin}
                                             : Roles{Role::kInfer};
    case ListenerKind::kAdmin:
      return {Role::kInfer, Role::kAdmin, Role::kMetrics};
    case ListenerKind::kMetrics:
      return {Role::kMetrics};
  }
  return {};
}

Authenticator::Authenticator(const AuthOptions& options) : options_(options) {
  for (auto kind : {ListenerKind::kInference, ListenerKind::kAdmin, ListenerKind::kMetrics}) {
    without_credentials_[static_cast<size_t>(kind)] =
        Nobody(RolesWithoutCredentials(kind, options));
  }
}

Result<std::unique_ptr<Authenticator>> Authenticator::Make(const AuthOptions& options) {
  std::unique_ptr<Authenticator> made(new Authenticator(options));
  VERDICT_RETURN_IF_ERROR(made->Reload());
  return made;
}

Status Authenticator::Reload() {
  if (options_.clients_file.empty()) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(const auto table, ClientTable::Load(options_.clients_file));
  Swap(table);
  return OkStatus();
}

void Authenticator::Swap(const std::shared_ptr<const ClientTable>& table) {
  for (Slot& slot : slots_) {
    std::shared_ptr<const ClientTable> own(table.get(), [table](const ClientTable*) {});
    std::lock_guard lock(slot.mutex);
    slot.table.swap(own);
  }
}

const Authenticator::Slot& Authenticator::MySlot() const {
  return slots_[ThreadNumber() % slots_.size()];
}

std::shared_ptr<const ClientTable> Authenticator::clients() const {
  const Slot& slot = MySlot();
  std::lock_guard lock(slot.mutex);
  return slot.table;
}

Result<std::shared_ptr<const Principal>> Authenticator::Authenticate(const Credentials& credentials,
                                                                     ListenerKind listener,
                                                                     int64_t now_s) const {
  const std::shared_ptr<const Principal>& nobody =
      without_credentials_[static_cast<size_t>(listener)];
  if (options_.clients_file.empty()) return nobody;  // what is sent cannot be judged
  std::shared_ptr<const ClientTable> table = clients();
  if (!credentials.authorization.empty()) {
    const auto token = BearerToken(credentials.authorization);
    if (!token.has_value()) {
      return Unauthenticated("the Authorization field must be 'Bearer' and a token");
    }
    const TokenEntry* entry =
        token->size() > kMaxTokenBytes ? nullptr : table->FindToken(HashToken(*token));
    if (entry == nullptr || entry->expires_s <= now_s) {
      return Unauthenticated("the token is unknown or expired; ask the server's operator for one");
    }
    const Principal* principal = &entry->principal;
    return std::shared_ptr<const Principal>(std::move(table), principal);
  }
  const Principal* first = nullptr;
  Roles roles;
  for (const std::string& name : credentials.certificate_names) {
    const Principal* principal = table->FindCertificate(name);
    if (principal == nullptr) continue;
    if (first == nullptr) first = principal;
    roles = roles | principal->roles;
  }
  if (first == nullptr) {
    if (table->anonymous().empty()) return nobody;
    return Nobody(table->anonymous());
  }
  if (roles == first->roles) return std::shared_ptr<const Principal>(std::move(table), first);
  auto joined = std::make_shared<Principal>(*first);
  joined->roles = roles;
  return std::shared_ptr<const Principal>(std::move(joined));
}

Status Authenticator::Authorize(const Principal& principal, Role needed) {
  if (principal.roles.Has(needed)) return OkStatus();
  const std::string role(RoleName(needed));
  if (principal.name.empty()) {
    return Unauthenticated("this call needs the role " + role +
                           ": send a token as 'Authorization: Bearer …', or a client certificate; "
                           "without a clients file, use the admin port");
  }
  return PermissionDenied("'" + principal.name + "' does not have the role " + role);
}

std::optional<std::string_view> BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer";
  if (authorization.size() <= kScheme.size() || !IsSpace(authorization[kScheme.size()])) {
    return std::nullopt;
  }
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if ((authorization[i] | 0x20) != kScheme[i]) return std::nullopt;
  }
  authorization.remove_prefix(kScheme.size());
  while (!authorization.empty() && IsSpace(authorization.front())) authorization.remove_prefix(1);
  while (!authorization.empty() && IsSpace(authorization.back())) authorization.remove_suffix(1);
  if (authorization.empty()) return std::nullopt;
  return authorization;
}

Result<std::string> MakeToken() {
  std::array<unsigned char, 33>
      bytes{};  // of which 32 are random; a multiple of 3 needs no padding
  if (RAND_bytes(bytes.data(), 32) != 1) {
    return Unavailable("the system gives no random numbers at this moment; try again");
  }
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string token = "vdt_";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned group = unsigned{bytes[i]} << 16 | unsigned{bytes[i + 1]} << 8 | bytes[i + 2];
    for (int shift : {18, 12, 6, 0}) token.push_back(kDigits[group >> shift & 63U]);
  }
  token.pop_back();  // the bits of the byte that is not random
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return token;
}

Sha256Digest HashToken(std::string_view token) {
  const auto bytes = std::as_bytes(std::span(token.data(), token.size()));
  return Sha256({{bytes}});
}

}  // namespace verdict
