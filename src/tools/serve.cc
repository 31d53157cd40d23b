#include "serve/server.h"

#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>

#include "tools/subcommand.h"

namespace verdict {
namespace {

/// File descriptors for all but clients' connections: engines, listeners, event queues, logs.
constexpr rlim_t kOtherDescriptors = 512;

struct Flags {
  ServerOptions server;
  int64_t drain_ms = 1000;
  int64_t idle_timeout_s = 60;
  int64_t read_timeout_s = 30;
};

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
  /// From now on a signal ends the process at once.
  void LetThrough() const { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }

 private:
  sigset_t signals_;
};

Status Serve(const Flags& flags) {
  auto logger = spdlog::stderr_logger_mt("verdict");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_default_logger(std::move(logger));

  ServerOptions options = flags.server;
  options.drain = std::chrono::milliseconds(flags.drain_ms);
  options.grpc_host = options.http_host;
  constexpr size_t kMostOfAMessage = std::numeric_limits<int>::max();
  options.grpc_limits.max_message_bytes =
      static_cast<int>(std::min(options.limits.max_body_bytes, kMostOfAMessage));
  options.limits.idle_timeout = std::chrono::seconds(flags.idle_timeout_s);
  options.limits.read_timeout = std::chrono::seconds(flags.read_timeout_s);
  // Room for a few of the largest, whatever that is.
  options.limits.max_held_body_bytes =
      std::max(options.limits.max_held_body_bytes, 4 * options.limits.max_body_bytes);
  FitToOpenFiles(&options.limits);

  // Left alone, glibc keeps more and more of what large requests took, in an arena a thread.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  const StopSignals signals;
  VERDICT_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(options));
  constexpr int kLoadingStepMs = 2;
  constexpr int kServingStepMs = 60'000;
  int signal = 0;
  while (signal == 0 && !server->loaded()) signal = signals.WaitFor(kLoadingStepMs);
  if (signal == 0) {
    if (!server->service().ready()) {
      spdlog::error("no model of {} could be loaded: the server is live, but not ready",
                    options.repository.string());
    }
    std::printf("listening on %s (inference)\nlistening on %s/metrics\nlistening on %s (gRPC)\n",
                server->http_url().c_str(), server->metrics_url().c_str(),
                server->grpc_address().c_str());
    std::fflush(stdout);
  }
  while (signal == 0) signal = signals.WaitFor(kServingStepMs);
  spdlog::info(
      "SIG{}: not ready from now on, refusing connections in {} ms; the next signal ends at once",
      ::sigabbrev_np(signal), options.drain.count());
  signals.LetThrough();
  server->Shutdown();
  spdlog::info("stopped");
  return OkStatus();
}

/// CLI11's range check, without its text in --help.
template <typename T>
CLI::Validator Within(T min, T max) {
  return CLI::Range(min, max).description("");
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  ServerOptions& server = flags->server;
  const auto add = [&app](const char* flag, auto& value, const char* type, const char* help) {
    return app.add_option(flag, value, help)->type_name(type);
  };
  add("--repository", server.repository, "DIR", "folder of <model>/<version>/model.engine")
      ->required();
  add("--host", server.http_host, "HOST", "address for inference")->capture_default_str();
  add("--http-port", server.http_port, "PORT", "0 picks a free one")->capture_default_str();
  add("--grpc-port", server.grpc_port, "PORT", "0 picks a free one")->capture_default_str();
  add("--metrics-host", server.metrics_host, "HOST", "default 127.0.0.1");
  add("--metrics-port", server.metrics_port, "PORT", "0 picks a free one")->capture_default_str();
  add("--io-threads", server.io_threads, "N", "threads that serve; default one a CPU")
      ->check(Within(1, 1024));
  add("--max-body-bytes", server.limits.max_body_bytes, "N",
      "default 64 MiB; JSON 8 MiB at most; else 413")
      ->check(Within(uint64_t{1}, uint64_t{1} << 40));
  add("--max-connections", server.limits.max_connections, "N", "default 16384; more are told 503")
      ->check(Within(1, 1'000'000));
  add("--drain-ms", flags->drain_ms, "MS", "at SIGTERM, from unready to refusing connections")
      ->check(Within(int64_t{0}, int64_t{3'600'000}))
      ->capture_default_str();
  add("--idle-timeout-s", flags->idle_timeout_s, "S", "closes an idle connection")
      ->check(Within(int64_t{1}, int64_t{86'400}))
      ->capture_default_str();
  add("--read-timeout-s", flags->read_timeout_s, "S", "from first to last byte of a request")
      ->check(Within(int64_t{1}, int64_t{86'400}))
      ->capture_default_str();
  return [flags] { return Serve(*flags); };
}

}  // namespace

const Subcommand kServeCommand = {
    .name = "serve",
    .summary = "Serves a folder of models over HTTP and gRPC (v2 protocol).",
    .example =
        "  verdict serve --repository models\n"
        "  curl localhost:8000/v2/models/fraud",
    .declare = Declare,
};

}  // namespace verdict
