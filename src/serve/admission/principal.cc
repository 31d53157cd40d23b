#include "serve/admission/principal.h"

namespace verdict {

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kOpen:
      return "open";
    case Role::kInfer:
      return "infer";
    case Role::kAdmin:
      return "admin";
    case Role::kMetrics:
      return "metrics";
  }
  return "unknown";
}

Result<Role> ParseRole(std::string_view name) {
  for (Role role : {Role::kInfer, Role::kAdmin, Role::kMetrics}) {
    if (name == RoleName(role)) return role;
  }
  // The name is not repeated: where a secret landed in the wrong place, it must not reach a log.
  return InvalidArgument("there is no such role; the roles are infer, admin, metrics");
}

}  // namespace verdict
