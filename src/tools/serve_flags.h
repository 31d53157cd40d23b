#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <memory>
#include <vector>

#include "serve/config/load_server_config.h"

namespace verdict {

/// What the command line of `verdict serve` says.
struct ServeFlags {
  std::filesystem::path file;
  std::vector<ConfigOverride> settings;
  bool check = false;
  bool print_config = false;
};

/// Declares the flags. A value that its key does not take is refused as the flags are parsed.
/// flags: filled by the parser; outlives the app.
void DeclareServeFlags(CLI::App& app, ServeFlags* flags);

/// The flags, and this process's environment.
ServerConfigSources SourcesOf(const ServeFlags& flags);

}  // namespace verdict
