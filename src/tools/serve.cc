#include "serve/server.h"

#include <malloc.h>
#include <spdlog/spdlog.h>
#include <stdio_ext.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "base/terminal_text.h"
#include "config/print_config.h"
#include "observe/logging.h"
#include "serve/config/check_repository.h"
#include "serve/config/load_server_config.h"
#include "serve/systemd_notify.h"
#include "tools/serve_flags.h"
#include "tools/serve_options.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

/// File descriptors for all but clients' connections: engines, listeners, event queues, logs.
constexpr rlim_t kOtherDescriptors = 512;

/// Raises the limit on open files as far as allowed, and lowers the number of connections to it.
void FitToOpenFiles(HttpLimits* limits) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return;
  const rlim_t room = files.rlim_cur > 2 * kOtherDescriptors ? files.rlim_cur - kOtherDescriptors
                                                             : files.rlim_cur / 2;
  if (static_cast<rlim_t>(limits->max_connections) <= room) return;
  spdlog::warn("{} open files are allowed: at most {} connections instead of {}", files.rlim_cur,
               room, limits->max_connections);
  limits->max_connections = static_cast<int>(std::max<rlim_t>(room, 1));
}

/// SIGTERM, SIGINT and SIGHUP, held back from all threads and waited for.
class StopSignals {
 public:
  /// Before any thread is started: threads inherit what is held back.
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    // A terminal that goes away ends the server in order, unless nohup has said otherwise.
    if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) {
      std::signal(SIGHUP, SIG_IGN);
    } else {
      sigaddset(&signals_, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    // A shell starts its background jobs with SIGINT ignored, and children inherit that.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGPIPE, SIG_IGN);
  }
  /// The signal that has come within `milliseconds`, or 0.
  int WaitFor(int milliseconds) const {
    const timespec patience{milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
    const int signal = sigtimedwait(&signals_, nullptr, &patience);
    return signal > 0 ? signal : 0;
  }
  /// From now on a signal ends the process at once, but for SIGHUP: a reload that comes too late.
  void LetThrough() const {
    std::signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }

 private:
  sigset_t signals_;
};

/// How long to wait for a signal at a time: half of the silence that the watchdog allows.
int ServingStepMs(const SystemdNotify& systemd) {
  constexpr int64_t kLongest = 60'000;
  if (!systemd.watchdog_timeout().has_value()) return kLongest;
  return static_cast<int>(
      std::clamp<int64_t>(systemd.watchdog_timeout()->count() / 2000, 1, kLongest));
}

/// SIGHUP: reads again what may have been replaced: certificates, clients, the repository where it
/// is polled, and of the configuration what can change while the server runs.
/// Returns: false if there is nothing of the kind; then the terminal has gone away.
bool Reload(const ServeFlags& flags, const ServerConfig& started, Server& server,
            SystemdNotify& systemd) {
  bool any = server.ReloadSecurity();
  if (started.repository.mode == RepositoryConfig::Mode::kPoll) {
    server.RescanRepository();
    any = true;
  }
  if (flags.file.empty()) return any;
  const bool started_up = server.loaded();  // else it is the start's end that says ready
  if (started_up) systemd.Reloading();
  LoadedServerConfig loaded = LoadServerConfig(SourcesOf(flags));
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  for (const std::string& problem : loaded.problems) spdlog::error("{}", problem);
  server.CountConfigurationReload(loaded.problems.empty());
  if (!loaded.problems.empty()) {
    spdlog::error("the configuration is not reloaded: the one before stays in force");
  } else {
    SetLogSettings(LogSettingsOf(loaded.config.log));
    ServerConfig before = started;
    const ConfigKeys old_keys = ServerConfigKeys(&before);
    for (const ConfigKey& key : ServerConfigKeys(&loaded.config)) {
      if (key.name == "log") continue;
      if (PrintConfig({key}) == PrintConfig({*FindConfigKey(old_keys, key.name)})) continue;
      spdlog::warn("{} has changed in the configuration: that takes effect with a restart",
                   key.name);
    }
    spdlog::info("reloaded");
  }
  if (started_up) systemd.Ready(server.service().ready() ? "serving" : "no model is served");
  return true;
}

/// How long a shutdown may take beyond its drain delay, before it is no shutdown any more.
/// More than what Server::Shutdown gives requests and traces, and a little for the rest.
constexpr std::chrono::milliseconds kShutdownPatience{15'000};
/// The exit status of one that was ended so.
constexpr int kEndedByForce = 3;

/// Ends the process if it has not ended by then: a kernel that never returns would hold it.
void EndByForceAfter(std::chrono::milliseconds patience) {
  try {
    std::thread([patience] {
      std::this_thread::sleep_for(patience);
      spdlog::critical("the shutdown did not end in {} ms: ended by force", patience.count());
      std::_Exit(kEndedByForce);
    }).detach();
  } catch (const std::system_error&) {  // no thread for it: a timer, which says nothing
    std::signal(SIGALRM, [](int) { std::_Exit(kEndedByForce); });
    ::alarm(static_cast<unsigned>(patience.count() / 1000) + 1);
  }
}

Status Serve(const ServeFlags& flags, const LoadedServerConfig& loaded) {
  StartLogging(LogSettingsOf(loaded.config.log));
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  VERDICT_ASSIGN_OR_RETURN(const std::unique_ptr<SystemdNotify> systemd,
                           SystemdNotify::FromEnvironment());
  ServerOptions options = ServerOptionsOf(loaded.config);
  FitToOpenFiles(&options.limits);

  // Left alone, glibc keeps more and more of what large requests took, in an arena a thread. What
  // usual batches take it must keep: with fresh pages a request of 512 KiB took five times the time
  // of a core.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  const StopSignals signals;
  VERDICT_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(options));
  constexpr int kLoadingStepMs = 2;
  const int serving_step_ms = ServingStepMs(*systemd);
  int signal = 0;
  // The next signal within that time that ends the server, or 0.
  const auto wait = [&](int milliseconds) {
    const int came = signals.WaitFor(milliseconds);
    return came == SIGHUP && Reload(flags, loaded.config, *server, *systemd) ? 0 : came;
  };
  while (signal == 0 && !server->loaded()) signal = wait(kLoadingStepMs);
  if (signal == 0) {
    if (!server->service().ready()) {
      spdlog::error(
          "no model of {} is served: the server is live, but not ready; it wants engines as "
          "<model>/<version>/model.engine",
          options.repository.string());
    }
    std::printf("listening on %s (inference)\nlistening on %s/metrics\nlistening on %s (admin)\n",
                server->http_url().c_str(), server->metrics_url().c_str(),
                server->admin_url().c_str());
    if (const std::string grpc = server->grpc_address(); !grpc.empty()) {
      std::printf("listening on %s (gRPC)\n", grpc.c_str());
    }
    if (std::fflush(stdout) != 0) {  // a server whose lines nobody takes serves all the same
      ::__fpurge(stdout);
      std::clearerr(stdout);
    }
    systemd->Ready(server->service().ready() ? "serving" : "no model is served");
  }
  while (signal == 0) {
    systemd->Watchdog();
    signal = wait(serving_step_ms);
  }
  systemd->Stopping("answering what is under way");
  spdlog::info(
      "SIG{}: not ready from now on, refusing connections in {} ms; SIGTERM or SIGINT then ends at "
      "once",
      ::sigabbrev_np(signal), options.drain.count());
  signals.LetThrough();
  EndByForceAfter(options.drain + kShutdownPatience);
  server->Shutdown();
  spdlog::info("stopped");
  return OkStatus();
}

/// Prints all problems but the last, which becomes the status. problems: not empty.
Status Failure(const std::vector<std::string>& problems) {
  for (size_t i = 0; i + 1 < problems.size(); ++i) {
    std::fprintf(stderr, "verdict serve: error: %s\n", TerminalText(problems[i]).c_str());
  }
  return InvalidArgument(problems.back());
}

/// --check: what would be served, and every problem that stands against it.
Status Check(const LoadedServerConfig& loaded) {
  std::vector<std::string> problems = loaded.problems;
  for (const std::string& warning : loaded.warnings) {
    std::fprintf(stderr, "verdict serve: warning: %s\n", TerminalText(warning).c_str());
  }
  if (loaded.problems.empty()) {
    for (const Status& status : Server::Check(ServerOptionsOf(loaded.config))) {
      problems.push_back(status.message());
    }
  }
  if (!loaded.config.repository.path.empty()) {
    RepositoryCheck check = CheckRepository(loaded.config.repository);
    for (const std::string& note : check.notes) {
      std::fprintf(stderr, "verdict serve: note: passed over: %s\n", TerminalText(note).c_str());
    }
    if (!check.versions.empty()) std::fputs(CheckTable(check).c_str(), stdout);
    problems.insert(problems.end(), check.problems.begin(), check.problems.end());
  }
  std::fflush(stdout);
  return problems.empty() ? OkStatus() : Failure(problems);
}

Status Run(const ServeFlags& flags) {
  LoadedServerConfig loaded = LoadServerConfig(SourcesOf(flags));
  if (flags.print_config) {
    if (!loaded.problems.empty()) return Failure(loaded.problems);
    std::fputs(PrintConfig(ServerConfigKeys(&loaded.config)).c_str(), stdout);
    return OkStatus();
  }
  if (loaded.config.repository.path.empty() && loaded.problems.empty()) {
    loaded.problems.push_back(
        "there is no repository; give --repository DIR, or repository.path in --config FILE");
  }
  if (flags.check) return Check(loaded);
  if (!loaded.problems.empty()) return Failure(loaded.problems);
  return Serve(flags, loaded);
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<ServeFlags>();
  DeclareServeFlags(app, flags.get());
  return [flags] { return Run(*flags); };
}

}  // namespace

const Subcommand kServeCommand = {
    .name = "serve",
    .summary = "Serves a folder of models over HTTP and gRPC.",
    .example =
        "  verdict serve --repository models\n"
        "  curl localhost:8000/v2/models/fraud",
    .declare = Declare,
};

}  // namespace verdict
