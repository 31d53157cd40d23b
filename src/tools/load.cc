#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/terminal_text.h"
#include "tools/help_all.h"
#include "tools/latency_summary.h"
#include "tools/load/plot.h"
#include "tools/load/report.h"
#include "tools/load/transport.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

using load::ArrivalKind;
using load::Protocol;

std::atomic<bool> interrupted = false;

int64_t Nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

Result<std::set<int>> ReadAllowed(const load::LoadFlags& flags) {
  const Protocol protocol = flags.protocol;
  std::set<int> allowed;
  std::string_view rest = flags.allowed;
  if (rest.empty()) rest = protocol == Protocol::kHttp ? "200" : "OK";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    int ending = 0;
    if (!load::ParseEnding(protocol, rest.substr(0, end), &ending)) {
      return InvalidArgument("--allow-status: '" + TerminalText(rest.substr(0, end)) +
                             "' is no status of the protocol, nor closed, timeout, malformed, "
                             "refused, unanswered or dropped");
    }
    allowed.insert(ending);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return allowed;
}

load::RunOptions MakeRunOptions(const load::LoadFlags& flags, std::span<const int64_t> replay_ns,
                                std::set<int> allowed) {
  load::RunOptions options;
  options.protocol = flags.protocol;
  options.rate_per_s = flags.rate;
  options.seed = flags.seed;
  options.replay_ns = replay_ns;
  options.threads = flags.threads;
  options.requests = flags.requests;
  options.deadline_ns = flags.deadline_us * 1000;
  options.server_pid = flags.server_pid;
  options.allowed = [allowed = std::move(allowed)](int ending) { return allowed.contains(ending); };
  if (!flags.replay.empty()) {
    options.arrivals = ArrivalKind::kReplay;
  } else if (flags.rate > 0) {
    options.arrivals =
        flags.arrivals == "constant" ? ArrivalKind::kConstant : ArrivalKind::kPoisson;
  }
  const bool closed = options.arrivals == ArrivalKind::kClosed;
  const bool replay = options.arrivals == ArrivalKind::kReplay;
  options.warmup_ns = Nanoseconds(flags.warmup_s.value_or(replay ? 0 : 1));
  // A recording, or a number of requests, is an end of its own.
  const bool timed = flags.has_duration || (!replay && flags.requests == UINT64_MAX);
  if (timed) options.duration_ns = Nanoseconds(flags.duration_s);
  constexpr int kOpenConnections = 64;
  constexpr int kOpenChannels = 4;
  constexpr int kStreamsPerChannel = 100;  // what HTTP/2 servers allow at least
  options.worker.timeout_ns = flags.timeout_ms * 1'000'000;
  options.worker.spin = flags.spin;
  const bool http = options.protocol == Protocol::kHttp;
  int connections = closed ? 1 : http ? kOpenConnections : kOpenChannels;
  if (http && closed) connections = flags.concurrency.value_or(1);
  connections = flags.connections.value_or(std::max(connections, flags.threads));
  options.worker.connections = connections;
  options.worker.concurrency =
      http ? connections
           : flags.concurrency.value_or(closed ? connections : connections * kStreamsPerChannel);
  return options;
}

void PrintSecond(const load::Second& second) {
  std::fprintf(stderr, "%5.0f s  %8.0f/s  in flight %4d  p50 %s  p99 %s  errors %.0f/s\n",
               static_cast<double>(second.end_ns) / 1e9, second.succeeded_per_s, second.in_flight,
               load::DurationText(second.p50_ns).c_str(), load::DurationText(second.p99_ns).c_str(),
               second.failed_per_s);
}

Status WriteText(const std::filesystem::path& path, const std::string& text) {
  const std::array parts = {std::as_bytes(std::span(text))};
  return WriteFileAtomically(path, parts);
}

load::PercentilePlot MakePlot(const load::RunDescription& description,
                              const load::RunOptions& options, const load::RunResult& result) {
  const load::Histogram& latency = result.total.latency;
  load::PercentilePlot plot{
      .title = description.target,
      .subtitle = LoadText(options) + "; " + ConnectionsText(options) + "; " + description.inputs,
      .figures = {{"throughput", FiveDigits(Throughput(result, options.protocol)) + " /s"},
                  {"p50", load::DurationText(latency.Percentile(50))},
                  {"p90", load::DurationText(latency.Percentile(90))},
                  {"p99", load::DurationText(latency.Percentile(99))},
                  {"p99.9", load::DurationText(latency.Percentile(99.9))},
                  {"max", load::DurationText(latency.max_ns())}},
      .curves = {},
      .deadline_ns = options.deadline_ns};
  const bool closed = options.arrivals == ArrivalKind::kClosed;
  plot.curves.push_back(
      {closed ? "latency" : "latency, from the intended time of sending", &result.total.latency});
  if (!closed) plot.curves.push_back({"service time, from the sending", &result.total.service});
  return plot;
}

/// An error if an answer came that --allow-status does not name, or none came.
Status CheckAnswers(const load::RunOptions& options, const load::Measurement& total) {
  uint64_t unexpected = 0;
  for (const auto& [ending, count] : total.endings) {
    if (!options.allowed(ending)) unexpected += count;
  }
  if (!total.unexpected_text.empty()) {
    const std::string name = EndingName(options.protocol, total.unexpected);
    return FailedPrecondition(std::to_string(unexpected) +
                              " measured requests did not end as --allow-status says; the first "
                              "(warm-up included) was " +
                              name + ": " + total.unexpected_text);
  }
  if (total.requests() == 0) {
    return FailedPrecondition("no request was measured: lengthen --duration, or raise --rate");
  }
  return OkStatus();
}

Status Load(const load::LoadFlags& flags) {
  VERDICT_ASSIGN_OR_RETURN(std::set<int> allowed, ReadAllowed(flags));
  std::filesystem::path json_out;
  std::filesystem::path plot_out;
  const std::initializer_list<std::pair<std::string_view, std::filesystem::path>> sources = {
      {"the inputs", flags.inputs}, {"the recording", flags.replay}};
  if (!flags.json_out.empty()) {
    VERDICT_ASSIGN_OR_RETURN(json_out, CheckTarget("--json-out", flags.json_out, sources));
  }
  if (!flags.plot.empty()) {
    VERDICT_ASSIGN_OR_RETURN(plot_out, CheckTarget("--plot", flags.plot, sources));
  }
  std::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }

  VERDICT_ASSIGN_OR_RETURN(const auto transport, load::MakeTransport(flags));
  const load::RunDescription& description = transport->description();
  const load::RunOptions options =
      MakeRunOptions(flags, transport->replay_ns(), std::move(allowed));
  const load::WorkerMaker make_worker = [&](const load::WorkerOptions& worker, load::Pacer pacer,
                                            load::Recorder& recorder) {
    return transport->MakeWorker(worker, std::move(pacer), recorder);
  };
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
  VERDICT_ASSIGN_OR_RETURN(
      const load::RunResult result,
      RunLoad(options, make_worker, ::isatty(STDERR_FILENO) == 1 ? PrintSecond : nullptr,
              interrupted));
  std::printf("%s", ReportText(description, options, result).c_str());
  if (!json_out.empty()) {
    VERDICT_RETURN_IF_ERROR(WriteText(json_out, ReportJson(description, options, result)));
  }
  if (!plot_out.empty()) {
    const load::PercentilePlot plot = MakePlot(description, options, result);
    const bool html = plot_out.extension() == ".html" || plot_out.extension() == ".htm";
    VERDICT_RETURN_IF_ERROR(WriteText(plot_out, html ? PlotHtml(plot) : PlotSvg(plot)));
  }
  return CheckAnswers(options, result.total);
}

/// CLI11's range check, without its text in --help; nan, which CLI11's lets through, is refused.
template <typename T>
CLI::Validator Within(T min, T max) {
  const auto check = [range = CLI::Range(min, max)](std::string& text) {
    return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is not a number" : range(text);
  };
  return {check, ""};
}

void CheckTogether(const load::LoadFlags& flags) {
  const auto refuse = [](const char* message) { throw CLI::ValidationError(message); };
  const bool http = flags.protocol == Protocol::kHttp;
  if (!flags.replay.empty() + (flags.rate > 0) + (flags.concurrency.has_value() && http) > 1) {
    refuse("give one of --concurrency, --rate and --replay");
  }
  if (!flags.replay.empty() && !(flags.shapes.empty() && flags.inputs.empty())) {
    refuse("--replay brings its own inputs: leave out --shape and --input-data");
  }
  if (!flags.shapes.empty() && !flags.inputs.empty()) {
    refuse("give either --shape or --input-data");
  }
  if (http && flags.concurrency && flags.connections && *flags.concurrency != *flags.connections) {
    refuse("HTTP/1.1 carries one request a connection: leave out --connections");
  }
  if (flags.cert.empty() != flags.key.empty()) refuse("give --cert and --key together");
  const int connections =
      flags.connections.value_or(http ? flags.concurrency.value_or(1 << 20) : 1 << 20);
  if (flags.threads > connections) refuse("--threads: no more than connections");
  const std::string extension = std::filesystem::path(flags.plot).extension().string();
  if (!flags.plot.empty() && extension != ".svg" && extension != ".html" && extension != ".htm") {
    refuse("--plot: the name must end in .svg or .html");
  }
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<load::LoadFlags>();
  const auto add = [&app](const char* flag, auto& value, const char* type, const char* help) {
    return app.add_option(flag, value, help)->type_name(type);
  };
  const auto add_rare = [&](const char* flag, auto& value, const char* type, const char* help) {
    return add(flag, value, type, help)->group(kRareOptions);
  };
  add("--model", flags->model, "NAME", "the model to ask")->required();
  add("--url", flags->url, "HOST:PORT", "default localhost:8000, gRPC 8001; https:// is TLS");
  add("--protocol", flags->protocol, "P", "http (default), grpc or grpc-stream")
      ->transform(
          CLI::Transformer(std::map<std::string, Protocol>{{"http", Protocol::kHttp},
                                                           {"grpc", Protocol::kGrpc},
                                                           {"grpc-stream", Protocol::kGrpcStream}})
              .description(""))
      // Comes before the other: what it does not know is refused with the list of what there is.
      ->transform(CLI::IsMember({"http", "grpc", "grpc-stream"}).description(""));
  AddShapesFlag(app, "--shape", flags->shapes, "x:1x10: random values (the default)");
  add("--input-data", flags->inputs, "FILE.npz", "or arrays, whose rows are sent in turn");
  app.add_flag("--json", flags->json, "tensors as JSON instead of binary");
  add("--concurrency", flags->concurrency, "N", "closed loop, N requests in flight; default 1")
      ->check(Within(1, 100'000));
  add("--rate", flags->rate, "R", "open loop, R requests a second")->check(Within(1e-3, 1e7));
  add("--replay", flags->replay, "FILE", "open loop, recorded requests (JSON lines)");
  add_rare("--connections", flags->connections, "N", "default 64 (gRPC 4) in an open loop")
      ->check(Within(1, 100'000));
  add("--duration", flags->duration_s, "S", "seconds of measuring; default 10")
      ->check(Within(1e-3, 1e6));
  add_rare("--warmup", flags->warmup_s, "S", "seconds before measuring; default 1")
      ->check(Within(0.0, 1e6));
  add("--deadline-us", flags->deadline_us, "US", "sent along; goodput is what comes within")
      ->check(Within(int64_t{1}, int64_t{3'600'000'000}));
  add("--allow-status", flags->allowed, "LIST", "200,503: others make the exit status 1");
  add_rare("--server-pid", flags->server_pid, "PID", "reports that process's CPU a request")
      ->check(Within(1, 1 << 30));
  add("--json-out", flags->json_out, "FILE", "everything that was measured");
  add("--plot", flags->plot, "FILE", "percentiles as .svg or .html");

  add_rare("--model-version", flags->version, "V", "default: what the server takes");
  add_rare("--batch", flags->batch, "N", "rows of --input-data a request; default 1")
      ->check(Within(int64_t{1}, int64_t{1} << 24));
  add_rare("--arrivals", flags->arrivals, "KIND", "of --rate: poisson (default) or constant")
      ->check(CLI::IsMember({"poisson", "constant"}).description(""));
  add_rare("--seed", flags->seed, "N", "of Poisson arrivals and random values; default 1");
  add_rare("--replay-speed", flags->replay_speed, "X", "2: twice as fast as recorded")
      ->check(Within(1e-3, 1e3));
  add_rare("--requests", flags->requests, "N", "ends after N measured requests")
      ->check(Within(uint64_t{1}, uint64_t{1} << 40));
  add_rare("--threads", flags->threads, "N", "of the generator; default 1")->check(Within(1, 256));
  add_rare("--timeout-ms", flags->timeout_ms, "MS", "gives a request up; default 10000")
      ->check(Within(int64_t{1}, int64_t{3'600'000}));
  add_rare("--priority", flags->priority, "N", "the protocol's priority, 1 is the highest");
  add_rare("--header", flags->headers, "NAME:VALUE", "sent with every request; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_rare("--token-file", flags->token_file, "FILE", "holds a bearer token");
  add_rare("--tls-ca", flags->tls_ca, "FILE", "TLS; PEM of the authority to trust");
  add_rare("--cert", flags->cert, "FILE", "PEM of the client's certificate");
  add_rare("--key", flags->key, "FILE", "PEM of its private key");
  app.add_flag("--spin", flags->spin, "never sleeps: exact times, a whole core")
      ->group(kRareOptions);
  AddHelpAll(app, "the other flags too: TLS, tokens, seed, threads, …");
  app.parse_complete_callback([flags, &app] {
    flags->has_duration = app.count("--duration") > 0;
    CheckTogether(*flags);
    for (const CLI::Option* option : app.get_options()) {
      // Headers may be secrets.
      if (option->count() > 0 && option->get_single_name() != "header") {
        // get_name() of a rare one is empty.
        flags->given.emplace_back("--" + option->get_single_name(), option->as<std::string>());
      }
    }
  });
  return [flags] { return Load(*flags); };
}

}  // namespace

const Subcommand kLoadCommand = {
    .name = "load",
    .summary = "Puts load on a server and measures its latency.",
    .example = "  verdict load --model fraud --rate 2000 --deadline-us 20000",
    .declare = Declare,
};

}  // namespace verdict
