#include <gtest/gtest.h>

#include <string_view>

#include "serve/endpoints/endpoint.h"

namespace verdict {
namespace {

/// What changes the server, or shows how it is set up.
bool IsForOperators(std::string_view path) {
  for (std::string_view part : {"/load", "/unload", "/logging", "/trace/", "/devices", "/fault"}) {
    if (path.find(part) != std::string_view::npos) return true;
  }
  return false;
}

TEST(EndpointList, OnlyHealthIsOpenAndOnlyOperatorsChangeTheServer) {
  for (const Endpoint& endpoint : Endpoints()) {
    const bool is_health =
        endpoint.path == "/v2/health/live" || endpoint.path == "/v2/health/ready";
    const Role expected = is_health                       ? Role::kOpen
                          : IsForOperators(endpoint.path) ? Role::kAdmin
                                                          : Role::kInfer;
    EXPECT_EQ(RoleName(endpoint.role), RoleName(expected)) << endpoint.path;
  }
}

}  // namespace
}  // namespace verdict
