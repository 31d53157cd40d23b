#pragma once

#include "serve/config/server_config.h"
#include "serve/server.h"

namespace verdict {

/// Fills what the configuration says of the admin port, TLS, clients, limits and shedding.
void SetSecurityOptions(const ServerConfig& config, ServerOptions* options);

}  // namespace verdict
