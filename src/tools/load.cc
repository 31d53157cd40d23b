#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/terminal_text.h"
#include "tools/latency_summary.h"
#include "tools/load/http_worker.h"
#include "tools/load/infer_request_text.h"
#include "tools/load/plot.h"
#include "tools/load/recording.h"
#include "tools/load/report.h"
#include "tools/load/target_url.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

using load::ArrivalKind;
using load::Protocol;

constexpr int kRandomRequests = 64;
constexpr size_t kMaxPreparedBytes = size_t{1} << 30;
constexpr int kAskTimeoutMs = 10'000;

struct Flags {
  std::string model, version, url = "localhost", protocol = "http";
  std::string shapes, inputs, replay, arrivals = "poisson";
  std::string tls_ca, cert, key, token_file, allowed, json_out, plot;
  std::vector<std::string> headers;
  bool json = false, spin = false;
  double rate = 0, duration_s = 10, replay_speed = 1;
  std::optional<double> warmup_s;
  std::optional<int> connections, concurrency;
  uint64_t seed = 1, requests = UINT64_MAX, priority = 0;
  int64_t batch = 1, deadline_us = 0, timeout_ms = 10'000;
  int threads = 1, server_pid = 0;
  bool has_duration = false;
  std::vector<std::pair<std::string, std::string>> given;  // for the JSON document
};

/// What every request of a run is made of.
struct Requests {
  std::vector<load::RequestInputs> inputs;
  load::Recording recording;  // of --replay
  std::string text;           // in words
};

std::atomic<bool> interrupted = false;

Protocol ProtocolOf(const Flags& flags) {
  if (flags.protocol == "grpc") return Protocol::kGrpc;
  return flags.protocol == "grpc-stream" ? Protocol::kGrpcStream : Protocol::kHttp;
}

int64_t Nanoseconds(double seconds) { return std::llround(seconds * 1e9); }

Result<load::ConnectionOptions> ReadConnection(const Flags& flags) {
  const uint16_t default_port = ProtocolOf(flags) == Protocol::kHttp ? 8000 : 8001;
  auto options = load::ParseUrl(flags.url, default_port);
  if (!options.ok()) return options.status().WithContext("--url");
  options->tls = options->tls || !flags.tls_ca.empty() || !flags.cert.empty();
  options->ca_file = flags.tls_ca;
  options->cert_file = flags.cert;
  options->key_file = flags.key;
  return options;
}

Result<std::vector<std::pair<std::string, std::string>>> ReadHeaders(const Flags& flags) {
  std::vector<std::pair<std::string, std::string>> headers;
  for (const std::string& text : flags.headers) {
    auto header = load::ParseHeader(text);
    if (!header.ok()) return header.status().WithContext("--header");
    headers.push_back(*std::move(header));
  }
  if (flags.token_file.empty()) return headers;
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(flags.token_file));
  const auto bytes = file->bytes();
  std::string token(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back()))) token.pop_back();
  const auto header = load::ParseHeader("Authorization: Bearer " + token);
  // Not the parser's own message: it would quote the token.
  if (!header.ok()) return InvalidArgument("--token-file " + flags.token_file + ": not a token");
  headers.push_back(*header);
  return headers;
}

Result<std::set<int>> ReadAllowed(const Flags& flags) {
  const Protocol protocol = ProtocolOf(flags);
  std::set<int> allowed;
  std::string_view rest = flags.allowed;
  if (rest.empty()) rest = protocol == Protocol::kHttp ? "200" : "OK";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    int ending = 0;
    if (!load::ParseEnding(protocol, rest.substr(0, end), &ending)) {
      return InvalidArgument("--allow-status: '" + TerminalText(rest.substr(0, end)) +
                             "' is no status of " + flags.protocol +
                             ", nor closed, timeout, malformed, refused or unanswered");
    }
    allowed.insert(ending);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return allowed;
}

Result<Requests> ReadReplay(const Flags& flags) {
  Requests requests;
  VERDICT_ASSIGN_OR_RETURN(requests.recording, load::ReadRecording(flags.replay));
  for (int64_t& time : requests.recording.times_ns) {
    time = std::llround(static_cast<double>(time) / flags.replay_speed);
  }
  requests.text = flags.replay;
  return requests;
}

Result<Requests> MakeInputs(const Flags& flags, const std::vector<load::InputSpec>& specs) {
  Requests requests;
  if (flags.inputs.empty()) {
    VERDICT_ASSIGN_OR_RETURN(const NamedShapes shapes, ParseShapes(flags.shapes));
    VERDICT_ASSIGN_OR_RETURN(requests.inputs,
                             load::RandomInputs(specs, shapes, kRandomRequests, flags.seed));
    requests.text = "random";
  } else {
    VERDICT_ASSIGN_OR_RETURN(const NamedTensors tensors, ReadNpz(flags.inputs));
    VERDICT_ASSIGN_OR_RETURN(requests.inputs,
                             load::CutInputs(specs, tensors, flags.inputs, flags.batch));
    requests.text = flags.inputs;
  }
  return requests;
}

/// "random, binary tensors, 64 different requests".
std::string InputsText(const Requests& requests, const char* form, size_t count) {
  return requests.text + ", " + form + ", " + std::to_string(count) +
         (count == 1 ? " request" : " different requests");
}

Result<Requests> MakeHttpRequests(const Flags& flags, const load::Endpoint& endpoint,
                                  const load::HttpRequestOptions& options) {
  if (!flags.replay.empty()) return ReadReplay(flags);
  const std::string target = load::ModelTarget(flags.model, flags.version);
  VERDICT_ASSIGN_OR_RETURN(
      const load::BlockingAnswer answer,
      load::AskOnce(endpoint, load::GetRequestText(target, options), kAskTimeoutMs));
  if (answer.code != 200) {
    return FailedPrecondition("the server answered " + std::to_string(answer.code) + " to GET " +
                              target + ": " + answer.body.substr(0, 512));
  }
  VERDICT_ASSIGN_OR_RETURN(const auto specs, load::ParseModelMetadata(answer.body));
  return MakeInputs(flags, specs);
}

/// Every request as it is sent; fewer than there are inputs where they would take too much memory.
Result<std::vector<std::string>> WriteHttpRequests(const Requests& requests,
                                                   const load::HttpRequestOptions& options) {
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (const load::RequestInputs& inputs : requests.inputs) {
    VERDICT_ASSIGN_OR_RETURN(std::string text, load::InferRequestText(inputs, options));
    bytes += text.size();
    if (bytes > kMaxPreparedBytes && !texts.empty()) break;
    texts.push_back(std::move(text));
  }
  for (const load::Recording::Request& request : requests.recording.requests) {
    std::string text;
    if (request.body.empty()) {
      VERDICT_ASSIGN_OR_RETURN(text, load::InferRequestText(request.inputs, options));
    } else {
      text = load::RawRequestText(request.body, options);
    }
    bytes += text.size();
    if (bytes > 2 * kMaxPreparedBytes) {
      return ResourceExhausted("--replay: over 2 GiB of requests; replay a part of the file");
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

load::RunOptions MakeRunOptions(const Flags& flags, std::span<const int64_t> replay_ns,
                                std::set<int> allowed) {
  load::RunOptions options;
  options.protocol = ProtocolOf(flags);
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

Status Load(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const load::ConnectionOptions connection, ReadConnection(flags));
  load::HttpRequestOptions request_options{.host = {},
                                           .target = {},
                                           .json = flags.json,
                                           .deadline_us = flags.deadline_us,
                                           .priority = flags.priority,
                                           .headers = {}};
  VERDICT_ASSIGN_OR_RETURN(request_options.headers, ReadHeaders(flags));
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

  VERDICT_ASSIGN_OR_RETURN(const auto endpoint, load::Endpoint::Make(connection));
  const std::string target = load::ModelTarget(flags.model, flags.version);
  request_options.host = endpoint->authority();
  request_options.target = target + "/infer";
  VERDICT_ASSIGN_OR_RETURN(const Requests requests,
                           MakeHttpRequests(flags, *endpoint, request_options));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                           WriteHttpRequests(requests, request_options));
  const load::RunDescription description{
      .target =
          std::string(connection.tls ? "https://" : "http://") + endpoint->authority() + target,
      .inputs = InputsText(requests, flags.json ? "JSON tensors" : "binary tensors", texts.size()),
      .flags = flags.given};
  const load::RunOptions options =
      MakeRunOptions(flags, requests.recording.times_ns, std::move(allowed));
  const load::WorkerMaker make_worker = [&](const load::WorkerOptions& worker, load::Pacer pacer,
                                            load::Recorder& recorder) {
    return std::make_unique<load::HttpWorker>(*endpoint, texts, worker, std::move(pacer), recorder);
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

void CheckTogether(const Flags& flags) {
  const auto refuse = [](const char* message) { throw CLI::ValidationError(message); };
  const bool http = flags.protocol == "http";
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
  auto flags = std::make_shared<Flags>();
  const auto add = [&app](const char* flag, auto& value, const char* type, const char* help) {
    return app.add_option(flag, value, help)->type_name(type);
  };
  // Options of a group without a name are shown by --help-all only: --help fits a screen.
  const auto add_rare = [&](const char* flag, auto& value, const char* type, const char* help) {
    return add(flag, value, type, help)->group("");
  };
  add("--model", flags->model, "NAME", "the model to ask")->required();
  add("--url", flags->url, "HOST:PORT", "default localhost:8000, gRPC 8001; https:// is TLS");
  add("--protocol", flags->protocol, "P", "http, grpc or grpc-stream")
      ->check(CLI::IsMember({"http", "grpc", "grpc-stream"}).description(""))
      ->capture_default_str();
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
  app.add_flag("--spin", flags->spin, "never sleeps: exact times, a whole core")->group("");
  app.add_flag_callback(
         "--help-all",
         [&app] {
           for (CLI::Option* option : app.get_options()) {
             if (option->get_group().empty()) option->group("More options");
           }
           throw CLI::CallForHelp();
         },
         "the other flags too: TLS, tokens, seed, threads, …")
      ->trigger_on_parse();
  app.parse_complete_callback([flags, &app] {
    flags->has_duration = app.count("--duration") > 0;
    CheckTogether(*flags);
    for (const CLI::Option* option : app.get_options()) {
      // Headers may be secrets.
      if (option->count() > 0 && option->get_name() != "--header") {
        flags->given.emplace_back(option->get_name(), option->as<std::string>());
      }
    }
  });
  return [flags] { return Load(*flags); };
}

}  // namespace

const Subcommand kLoadCommand = {
    .name = "load",
    .summary = "Sends inference requests to a server and measures the latency.",
    .example = "  verdict load --model fraud --rate 2000 --deadline-us 20000",
    .declare = Declare,
};

}  // namespace verdict
