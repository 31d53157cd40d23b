#include "serve/config/server_config.h"

namespace verdict {
namespace {

constexpr int64_t kMaxVersion = INT64_MAX;
constexpr int64_t kMaxPort = 65'535;
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxBytes = int64_t{1} << 40;
constexpr int64_t kMaxConnections = 1'000'000;
constexpr int64_t kDayS = 86'400;
constexpr int64_t kHourUs = 3'600'000'000;
constexpr int64_t kMaxInFlight = 1'000'000'000;
constexpr double kMaxRate = 1e9;

ConfigKeys RepositoryKeys(RepositoryConfig* repository) {
  return {
      Text("path", &repository->path,
           "Folder of `<model>/<version>/model.engine` and `<model>/config.yaml`; must be set"),
      Choice("mode", &repository->mode, {"startup", "poll", "explicit"},
             "When models come and go: at the start only; whenever the folder changes; when a call "
             "or `load` names them"),
      Integer("poll_interval_s", &repository->poll_interval_s, 1, kDayS,
              "Mode poll: time between two looks at the folder, in seconds"),
      TextList("load", &repository->load, "Mode explicit: models to load at the start"),
      Integer("load_threads", &repository->load_threads, 1, 64,
              "How many versions are loaded at a time"),
      Flag("strict_readiness", &repository->strict_readiness,
           "Whether the server is ready only when every model is; else when any is"),
      Flag("require_manifest", &repository->require_manifest,
           "Whether versions without a manifest.json are passed over; those with one are verified "
           "always"),
      TextList("trusted_keys", &repository->trusted_keys,
               "PEM files of Ed25519 public keys; if any, only versions signed by one are served"),
  };
}

ConfigKeys HttpKeys(HttpConfig* http) {
  return {
      Text("host", &http->host, "Address that HTTP listens on"),
      Integer("port", &http->port, 0, kMaxPort, "Port of HTTP; 0 picks a free one"),
      Integer("io_threads", &http->io_threads, 0, kMaxThreads,
              "Threads that read, answer and write; 0 for one a CPU"),
      Integer("max_body_bytes", &http->max_body_bytes, 1, kMaxBytes,
              "Largest body of a request, in bytes (JSON: 8 MiB at most); beyond it 413"),
      Integer("max_held_body_bytes", &http->max_held_body_bytes, 1, kMaxBytes,
              "Memory for the bodies of all connections and the tensors of queued requests, in "
              "bytes; at least 4 of the largest"),
      Integer("max_connections", &http->max_connections, 1, kMaxConnections,
              "Connections at a time; more are told 503"),
      Integer("idle_timeout_s", &http->idle_timeout_s, 1, kDayS,
              "Closes a connection without a request for so long, in seconds"),
      Integer("read_timeout_s", &http->read_timeout_s, 1, kDayS,
              "Longest time from the first byte of a request to its last, in seconds"),
  };
}

ConfigKeys GrpcKeys(GrpcConfig* grpc) {
  return {
      Flag("enabled", &grpc->enabled, "Whether there is a port for gRPC"),
      Text("host", &grpc->host, "Address that gRPC listens on; empty: that of http"),
      Integer("port", &grpc->port, 0, kMaxPort, "Port of gRPC; 0 picks a free one"),
      Integer("threads", &grpc->threads, 0, kMaxThreads,
              "Threads that read, answer and write; 0 for one a CPU"),
      Integer("max_message_bytes", &grpc->max_message_bytes, 1, (int64_t{1} << 31) - 1,
              "Largest message of a request, in bytes; beyond it RESOURCE_EXHAUSTED"),
      Integer("max_concurrent_streams", &grpc->max_concurrent_streams, 1, kMaxConnections,
              "Calls at a time on one connection"),
      Flag("reflection", &grpc->reflection,
           "Whether clients may ask for the services' description"),
  };
}

ConfigKeys PortKeys(PortConfig* port, const std::string& what) {
  return {
      Text("host", &port->host, "Address that " + what + " listens on"),
      Integer("port", &port->port, 0, kMaxPort, "Port of " + what + "; 0 picks a free one"),
  };
}

ConfigKeys MetricsKeys(MetricsConfig* metrics) {
  ConfigKeys keys = PortKeys(&metrics->listener, "metrics");
  keys.push_back(Integer("gpu_interval_ms", &metrics->gpu_interval_ms, 0, kHourUs / 1000,
                         "Time between two looks at the machine's GPUs, in milliseconds; 0: their "
                         "metrics are left out"));
  return keys;
}

ConfigKeys DeviceKeys(DeviceConfig* device) {
  return {
      Text("backend", &device->backend,
           "Whose device models run on: none; a name, as tensorrt; auto for the first that there "
           "is. The CPU answers where it cannot be had"),
      Text("plugin_dir", &device->plugin_dir,
           "Folder of libverdict_<backend>.so; empty: VERDICT_PLUGIN_PATH, the program's own "
           "folder, and lib/verdict beside that"),
      Choice("isolation", &device->isolation, {"process", "none"},
             "Where the device's libraries run: in a worker process that is started again after a "
             "fault, or in the server, a few microseconds faster, which a fault leaves without a "
             "device until it is started again"),
      Integer(
          "spin_us", &device->spin_us, 0, UINT32_MAX,
          "For how long after a run the worker watches for the next one, in microseconds; then it "
          "sleeps, and waking it costs 10 to 50 us; 4294967295 for always"),
      Integer("spinners", &device->spinners, 1, 1024,
              "How many threads of the worker watch at a time: the cores that it may take while "
              "nothing runs"),
      Integer("index", &device->index, 0, 1023, "Which of the machine's devices"),
      Integer("memory_limit_bytes", &device->memory_limit_bytes, 0, kMaxBytes,
              "Memory of the device for all models together, in bytes; 0 for nine tenths of it"),
      Integer("idle_s", &device->idle_s, 0, kDayS,
              "A model that has not been asked for so long makes room for others, in seconds"),
      Integer("streams", &device->streams, 1, 64,
              "How many runs of a model at a time, where its config.yaml does not say"),
      Integer("run_timeout_ms", &device->run_timeout_ms, 1, 3'600'000,
              "Longest run; a device that takes longer counts as lost, in milliseconds"),
      Choice("rebuild", &device->rebuild, {"background", "never"},
             "What becomes of plans that were built for another device or version, or from other "
             "weights: built again beside the requests, or left aside"),
      Choice("plans", &device->plans, {"stored", "rebuild"},
             "Whether plans are taken from engine files, or built here always: a plan is trusted "
             "like a program"),
      Flag("fault_injection", &device->fault_injection,
           "Whether admins may make the device fail, for drills (POST /v2/devices/fault)"),
  };
}

ConfigKeys TlsKeys(TlsConfig* tls) {
  return {
      Text("certificate", &tls->certificate,
           "PEM file of the server's certificate and those that signed it; empty for no TLS"),
      Text("key", &tls->key, "PEM file of the certificate's private key"),
      Text("client_ca", &tls->client_ca, "PEM file of who signs clients' certificates"),
      Choice("client_auth", &tls->client_auth, {"none", "optional", "required"},
             "Whether clients show a certificate"),
      Choice("min_version", &tls->min_version, {"TLSv1.2", "TLSv1.3"}, "Oldest version spoken"),
      Integer("reload_interval_s", &tls->reload_interval_s, 1, kDayS,
              "Time between two looks at the files for new ones, in seconds"),
  };
}

ConfigKeys AuthKeys(AuthConfig* auth) {
  return {
      Text("clients_file", &auth->clients_file,
           "YAML file of tokens (hashed), certificate names and their roles; empty: callers need "
           "no credentials"),
      Flag("admin_on_inference_port", &auth->admin_on_inference_port,
           "Without a clients file: whether the inference ports take admin calls too"),
  };
}

ConfigKeys RequestLimitKeys(RequestLimitConfig* limit) {
  return {
      Number("requests_per_s", &limit->requests_per_s, 0, kMaxRate,
             "Requests a second; 0 for no limit"),
      Number("burst", &limit->burst, 0, kMaxRate,
             "Requests at once before the rate counts; 0 for those of one second"),
      Integer("max_in_flight", &limit->max_in_flight, 0, kMaxInFlight,
              "Requests under way at a time; 0 for no limit"),
  };
}

ConfigKeys ShedKeys(ShedConfig* shed) {
  return {
      Number("in_flight_watermark", &shed->in_flight_watermark, 0.01, 1,
             "Share of total.max_in_flight at which less urgent requests are turned away"),
      Integer("queue_delay_watermark_us", &shed->queue_delay_watermark_us, 0, kHourUs,
              "Time in the queue at which that begins, in microseconds; 0: it does not count"),
      Integer("queue_delay_limit_us", &shed->queue_delay_limit_us, 0, kHourUs,
              "Time in the queue at which all are turned away, in microseconds; 0 for twice the "
              "watermark"),
      Integer("priority_levels", &shed->priority_levels, 1, 1000,
              "How many priorities requests have, 1 the most urgent"),
      Integer("default_priority", &shed->default_priority, 1, 1000,
              "The priority of a request that names none"),
  };
}

ConfigKeys LimitsKeys(LimitsConfig* limits) {
  return {
      Section("total", RequestLimitKeys(&limits->total), "What all clients may ask for together"),
      Section("client", RequestLimitKeys(&limits->client),
              "What each client may ask for that `clients` does not name"),
      NamedSections("clients", &limits->clients, RequestLimitKeys,
                    "What single clients may ask for, each under its name in the clients file"),
      Integer("max_clients", &limits->max_clients, 1, 16'777'216,
              "Clients that are followed at a time; the longest idle is forgotten"),
      Section("shed", ShedKeys(&limits->shed), "What is turned away first under load"),
  };
}

ConfigKeys DeadlineKeys(DeadlineConfig* deadline) {
  return {
      Integer("default_us", &deadline->default_us, 0, kHourUs,
              "Deadline of a request that names none, in microseconds; 0 for none"),
      Integer("max_us", &deadline->max_us, 0, kHourUs,
              "Longest deadline; later ones are brought forward, in microseconds; 0 for none"),
  };
}

ConfigKeys RungKeys(RungConfig* rung) {
  return {
      Required(Text("model", &rung->model, "A model of the repository")),
      Integer("version", &rung->version, 0, kMaxVersion,
              "Which version; 0 for the highest that is loaded"),
  };
}

ConfigKeys LastResortKeys(LastResortConfig* constant) {
  return {Required(Number("value", &constant->value, -1e30, 1e30, "What every row gets"))};
}

ConfigKeys BreakerKeys(BreakerConfig* breaker) {
  return {
      Integer("failures_in_row", &breaker->failures_in_row, 1, 1'000'000,
              "So many failures one after the other shut a rung off"),
      Number("failure_share", &breaker->failure_share, 0.01, 1,
             "And so does this share of failures within the window"),
      Integer("window_ms", &breaker->window_ms, 1, kDayS * 1000,
              "Length of the window, in milliseconds"),
      Integer("min_requests", &breaker->min_requests, 1, 1'000'000,
              "Fewer requests within the window say nothing about the share"),
      Integer("open_ms", &breaker->open_ms, 1, kDayS * 1000,
              "Time until a rung that was shut off gets a request again, in milliseconds; doubled "
              "each time that it fails"),
      Integer("max_open_ms", &breaker->max_open_ms, 1, kDayS * 1000,
              "Longest such time, in milliseconds"),
      Integer("probes", &breaker->probes, 1, 1'000,
              "So many requests, one at a time, must succeed before it gets all of them"),
  };
}

ConfigKeys RouteKeys(RouteConfig* route) {
  return {
      Required(SectionList("rungs", &route->rungs, 1, 16, RungKeys,
                           "The models that may answer, best first")),
      NamedSections("last_resort", &route->last_resort, LastResortKeys,
                    "Outputs, float32, that are answered as constants where no rung can"),
      Integer("patience_ms", &route->patience_ms, 1, kDayS * 1000,
              "Time after which a rung without an answer is given up, in milliseconds; earlier "
              "where the deadline says so"),
      Section("breaker", BreakerKeys(&route->breaker), "When a rung that fails is shut off"),
  };
}

ConfigKeys TracingKeys(TracingConfig* tracing) {
  return {
      Text("endpoint", &tracing->endpoint,
           "URL of an OpenTelemetry collector, as http://host:4318/v1/traces; empty for no export"),
      Flag("timestamps", &tracing->timestamps, "Whether requests are traced from the start"),
      Integer("rate", &tracing->rate, 1, 1'000'000'000,
              "One request in so many begins a trace, besides those whose caller traces them"),
  };
}

ConfigKeys LogKeys(LogConfig* log) {
  return {
      Choice("format", &log->format, {"text", "json"}, "How a line of the log is written"),
      Choice("level", &log->level, {"error", "warning", "info", "debug", "trace"},
             "What is logged: this and what is worse"),
  };
}

}  // namespace

ConfigKeys ServerConfigKeys(ServerConfig* config) {
  return {
      Section("repository", RepositoryKeys(&config->repository), "Where the models are"),
      Section("http", HttpKeys(&config->http), "Inference over HTTP"),
      Section("grpc", GrpcKeys(&config->grpc), "Inference over gRPC"),
      Section("admin", PortKeys(&config->admin, "admin calls"), "Loading models, settings"),
      Section("metrics", MetricsKeys(&config->metrics), "Metrics for Prometheus"),
      Section("compute",
              {Integer("threads", &config->compute.threads, 0, kMaxThreads,
                       "Threads that run models; 0 for one a CPU")},
              "Running models"),
      Section("device", DeviceKeys(&config->device), "Running models on a GPU"),
      Section("tls", TlsKeys(&config->tls), "Encryption of inference and admin calls"),
      Section("auth", AuthKeys(&config->auth), "Who may do what"),
      Section("limits", LimitsKeys(&config->limits), "How much may be asked for"),
      Section("deadline", DeadlineKeys(&config->deadline), "By when requests must be answered"),
      NamedSections("routes", &config->routes, RouteKeys,
                    "Names that are asked for like models, and which models may answer"),
      Flag("fault_injection", &config->fault_injection,
           "Whether admins may make models fail, for drills (POST /v2/models/{model}/fault)"),
      Section("shared_memory",
              {Flag("allow", &config->shared_memory.allow,
                    "Whether clients on this machine may pass tensors in shared memory")},
              "Tensors in shared memory"),
      Section("tracing", TracingKeys(&config->tracing), "Traces of requests"),
      Section("log", LogKeys(&config->log), "The log on standard error"),
      Integer("drain_ms", &config->drain_ms, 0, 3'600'000,
              "When told to stop: time from not ready to refusing connections, in milliseconds"),
  };
}

}  // namespace verdict
