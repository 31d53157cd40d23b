#pragma once

#include "observe/logging.h"
#include "serve/config/server_config.h"
#include "serve/server.h"

namespace verdict {

/// What the configuration says, as the server and the log take it.
ServerOptions ServerOptionsOf(const ServerConfig& config);
LogSettings LogSettingsOf(const LogConfig& config);

}  // namespace verdict
