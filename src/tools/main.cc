#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/terminal_text.h"
#include "tools/help_all.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;
constexpr size_t kFlagColumn = 28;

constexpr std::array kSubcommands = {
    &kBuildCommand,  &kRefitCommand, &kRunCommand,        &kInspectCommand,
    &kExportCommand, &kBenchCommand, &kServeCommand,      &kHealthCommand,
    &kLoadCommand,   &kTokenCommand, &kRepositoryCommand,
};

void PrintError(const std::string& command, const std::string& message) {
  std::fprintf(stderr, "%s: error: %s\n", command.c_str(), message.c_str());
}

/// The path of a file or folder may not be empty.
void RefuseEmptyPaths(CLI::App& app) {
  const auto check = [](const std::string& path) {
    return path.empty() ? "the path is empty" : std::string();
  };
  for (CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    if (type.starts_with("FILE") || type.starts_with("DIR")) option->check(check);
  }
}

/// What was wrong with the arguments. A mistyped flag comes before what is missing for lack of it.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error, const char* first) {
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    if (first == nullptr) return error.what();
    return "there is no " + std::string(first[0] == '-' ? "flag" : "subcommand") + " '" + first +
           "'";
  }
  const std::vector<std::string> unknown = chosen.front()->remaining();
  const auto flag =
      std::ranges::find_if(unknown, [](const std::string& text) { return text.starts_with('-'); });
  if (flag != unknown.end()) return "there is no flag '" + *flag + "'";
  if (!unknown.empty()) return "unexpected argument '" + unknown.front() + "'";
  return error.what();
}

/// "verdict build" once the subcommand is known.
std::string CommandName(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "verdict" : "verdict " + chosen.front()->get_name();
}

/// Runs the subcommand; output that cannot be written is an error too (a full disk behind `>`).
int Finish(const std::string& command, const Status& status) {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!status.ok()) {
    PrintError(command, TerminalText(status.message()));
  } else if (!written) {
    PrintError(command, "cannot write to standard output");
  }
  return status.ok() && written ? EXIT_SUCCESS : kFailure;
}

int Main(int argc, char** argv) {
  CLI::App app("Compiles trained models into engines and scores transactions with them.",
               "verdict");
  app.set_version_flag("--version", "verdict " VERDICT_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(kFlagColumn);
  app.footer("Each subcommand has its own: verdict build --help");
  std::function<Status()> run;
  for (const Subcommand* subcommand : kSubcommands) {
    CLI::App* child =
        app.add_subcommand(std::string(subcommand->name), std::string(subcommand->summary));
    child->footer("Example:\n" + std::string(subcommand->example));
    child->callback([&run, work = subcommand->declare(*child)] { run = work; });
    RefuseEmptyPaths(*child);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const std::string command = CommandName(app);
    const std::string message = UsageError(app, error, argc > 1 ? argv[1] : nullptr);
    PrintError(command, TerminalText(message) + "\nSee `" + command + " --help`.");
    return kUsage;
  }
  const std::string command = CommandName(app);
  try {
    return Finish(command, run());
  } catch (const std::bad_alloc&) {
    PrintError(command, "out of memory");
  } catch (const std::exception& error) {
    PrintError(command, TerminalText(error.what()));
  }
  return kFailure;
}

}  // namespace
}  // namespace verdict

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the user's limit is an error like a full disk
  return verdict::Main(argc, argv);
}
