#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// A subcommand of `verdict`: one file, one line in main.cc.
struct Subcommand {
  std::string_view name;
  std::string_view summary;  // one line
  std::string_view example;  // below the flags in --help; help stays within 24 lines of 80
  /// Declares the flags; what it returns runs once they are parsed. Its error is printed after
  /// "verdict NAME: error: " and makes the exit status 1; what CLI11 refuses makes it 2.
  std::function<Status()> (*declare)(CLI::App& app);
};

extern const Subcommand kBenchCommand;
extern const Subcommand kBuildCommand;
extern const Subcommand kExportCommand;
extern const Subcommand kHealthCommand;
extern const Subcommand kInspectCommand;
extern const Subcommand kLoadCommand;
extern const Subcommand kRefitCommand;
extern const Subcommand kRepositoryCommand;
extern const Subcommand kRunCommand;
extern const Subcommand kServeCommand;
extern const Subcommand kTokenCommand;

}  // namespace verdict
