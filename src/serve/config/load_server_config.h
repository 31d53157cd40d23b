#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/override_config.h"
#include "serve/config/server_config.h"

namespace verdict {

/// Where a configuration comes from: each overrules the one before, and all of them the defaults.
struct ServerConfigSources {
  std::filesystem::path file;                                    // empty: none
  std::vector<std::pair<std::string, std::string>> environment;  // name, value
  std::vector<ConfigOverride> flags;
};

struct LoadedServerConfig {
  ServerConfig config;                // only to be used if there are no problems
  std::vector<std::string> problems;  // one line each
  std::vector<std::string> warnings;
};

/// Reads the configuration and checks it as a whole. Nothing but `file` is opened.
LoadedServerConfig LoadServerConfig(const ServerConfigSources& sources);

}  // namespace verdict
