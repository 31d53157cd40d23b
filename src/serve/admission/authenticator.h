#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/admission/clients_file.h"
#include "serve/admission/principal.h"

namespace verdict {

struct AuthOptions {
  std::filesystem::path clients_file;  // empty: callers need no credentials
  /// Without a clients file: admin calls are taken on the inference port too, as Triton does. With
  /// one, roles alone decide.
  bool admin_on_inference_port = false;
};

/// The kinds of ports; each grants other roles to callers while there is no clients file.
enum class ListenerKind { kInference, kAdmin, kMetrics };

/// The roles of callers without credentials, where no clients file says otherwise.
Roles RolesWithoutCredentials(ListenerKind listener, const AuthOptions& options);

/// What a transport knows of a caller.
struct Credentials {
  std::string_view authorization;  // the header's value; empty: none was sent
  /// Names of the client's certificate ("cn:checkout", "dns:a.example"), verified by TLS.
  std::span<const std::string> certificate_names;
};

/// Tells who calls. Threads: any.
class Authenticator {
 public:
  /// Errors: those of ClientTable::Load.
  static Result<std::unique_ptr<Authenticator>> Make(const AuthOptions& options);

  /// Reads the clients file again. On error the clients known so far stay.
  Status Reload();

  /// The caller.
  ///
  /// A token, once sent, must be right, whatever certificate there is; a certificate of no name
  /// known here is as good as none.
  /// now_s: Unix time.
  /// Errors: kUnauthenticated (not a bearer token, unknown, expired); the message is the same for
  /// unknown and expired, so as to tell a guesser nothing.
  Result<std::shared_ptr<const Principal>> Authenticate(const Credentials& credentials,
                                                        ListenerKind listener, int64_t now_s) const;

  /// Whether the principal may; kUnauthenticated for nobody in particular, who could come back with
  /// credentials; else kPermissionDenied. Threads: pure.
  static Status Authorize(const Principal& principal, Role needed);

  /// The clients as they are now; null without a clients file.
  std::shared_ptr<const ClientTable> clients() const;

 private:
  explicit Authenticator(const AuthOptions& options);
  void Swap(const std::shared_ptr<const ClientTable>& table);

  // A table's reference count would go back and forth between all cores: each slot has one of its
  // own, and a thread always takes the same slot.
  struct alignas(64) Slot {
    mutable std::mutex mutex;
    std::shared_ptr<const ClientTable> table;
  };
  const Slot& MySlot() const;

  const AuthOptions options_;
  std::array<std::shared_ptr<const Principal>, 3> without_credentials_;  // by ListenerKind
  std::array<Slot, 32> slots_;
};

/// The token of an Authorization header's value, or nothing if it is no "Bearer" one.
std::optional<std::string_view> BearerToken(std::string_view authorization);

/// A new token: "vdt_" and 256 random bits in base64url. Errors: kUnavailable (no randomness).
Result<std::string> MakeToken();

/// What a clients file keeps of a token.
Sha256Digest HashToken(std::string_view token);

}  // namespace verdict
