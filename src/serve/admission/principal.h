#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// What a caller may do. A call needs one of them, or none (kOpen).
enum class Role : uint8_t {
  kOpen = 0,     // health: load balancers ask without credentials
  kInfer = 1,    // inference, and what a client reads about models
  kAdmin = 2,    // what changes the server, or shows how it is set up
  kMetrics = 4,  // the scrape
};

/// "infer", "admin", "metrics"; "open" for kOpen.
std::string_view RoleName(Role role);

/// A set of roles. Threads: plain data.
class Roles {
 public:
  constexpr Roles() = default;
  constexpr Roles(std::initializer_list<Role> roles) {
    for (Role role : roles) bits_ |= static_cast<uint8_t>(role);
  }

  /// True of every set for kOpen.
  constexpr bool Has(Role role) const {
    return (bits_ & static_cast<uint8_t>(role)) == static_cast<uint8_t>(role);
  }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr Roles operator|(Roles other) const {
    Roles both;
    both.bits_ = bits_ | other.bits_;
    return both;
  }
  constexpr bool operator==(const Roles&) const = default;

 private:
  uint8_t bits_ = 0;
};

/// The role of that name. Errors: kInvalidArgument, with the names there are.
Result<Role> ParseRole(std::string_view name);

/// Who calls. `name` is for logs, quotas and audit records; it is no secret.
struct Principal {
  std::string name;  // empty: nobody in particular
  Roles roles;
};

}  // namespace verdict
