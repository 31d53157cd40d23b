#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/config_key.h"

namespace verdict {

// What the one file of `verdict serve --config FILE` says, as plain data. What each key means, its
// unit and its range stand once, in server_config_keys.cc; docs/reference/ is made of that.

struct RepositoryConfig {
  enum class Mode { kStartup, kPoll, kExplicit };
  std::string path;
  Mode mode = Mode::kStartup;
  uint32_t poll_interval_s = 15;
  std::vector<std::string> load;
  int load_threads = 1;
  bool strict_readiness = false;
  bool require_manifest = false;
  std::vector<std::string> trusted_keys;
};

struct HttpConfig {
  std::string host = "0.0.0.0";
  uint16_t port = 8000;
  int io_threads = 0;
  uint64_t max_body_bytes = uint64_t{64} << 20;
  uint64_t max_held_body_bytes = uint64_t{1} << 30;
  int max_connections = 16384;
  uint32_t idle_timeout_s = 60;
  uint32_t read_timeout_s = 30;
};

struct GrpcConfig {
  bool enabled = true;
  std::string host;  // empty: http.host
  uint16_t port = 8001;
  int threads = 0;
  uint64_t max_message_bytes = uint64_t{64} << 20;
  int max_concurrent_streams = 1024;
  bool reflection = true;
};

/// A port of few, short requests.
struct PortConfig {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
};

struct MetricsConfig {
  PortConfig listener{.port = 8002};
  uint32_t gpu_interval_ms = 1000;
};

struct ComputeConfig {
  int threads = 0;
};

struct DeviceConfig {
  enum class Rebuild { kBackground, kNever };
  enum class Plans { kStored, kRebuild };
  enum class Isolation { kProcess, kNone };
  std::string backend = "none";
  std::string plugin_dir;
  Isolation isolation = Isolation::kProcess;
  uint32_t spin_us = 10'000;
  int spinners = 1;
  int index = 0;
  uint64_t memory_limit_bytes = 0;
  uint32_t idle_s = 60;
  int streams = 2;
  uint32_t run_timeout_ms = 2000;
  Rebuild rebuild = Rebuild::kBackground;
  Plans plans = Plans::kStored;
  bool fault_injection = false;
};

struct TlsConfig {
  enum class ClientAuth { kNone, kOptional, kRequired };
  enum class Version { k12, k13 };
  std::string certificate;
  std::string key;
  std::string client_ca;
  ClientAuth client_auth = ClientAuth::kNone;
  Version min_version = Version::k12;
  uint32_t reload_interval_s = 30;
};

struct AuthConfig {
  std::string clients_file;
  bool admin_on_inference_port = false;
};

struct RequestLimitConfig {
  double requests_per_s = 0;
  double burst = 0;
  int max_in_flight = 0;
};

struct ShedConfig {
  double in_flight_watermark = 0.8;
  uint32_t queue_delay_watermark_us = 0;
  uint32_t queue_delay_limit_us = 0;
  uint32_t priority_levels = 3;
  uint32_t default_priority = 2;
};

struct LimitsConfig {
  RequestLimitConfig total;
  RequestLimitConfig client;
  std::map<std::string, RequestLimitConfig> clients;
  uint32_t max_clients = 65'536;
  ShedConfig shed;
};

struct DeadlineConfig {
  uint64_t default_us = 0;
  uint64_t max_us = 0;
};

struct RungConfig {
  std::string model;
  int64_t version = 0;
};

struct LastResortConfig {
  double value = 0;
};

struct BreakerConfig {
  uint32_t failures_in_row = 5;
  double failure_share = 0.5;
  uint32_t window_ms = 10'000;
  uint32_t min_requests = 20;
  uint32_t open_ms = 1'000;
  uint32_t max_open_ms = 30'000;
  uint32_t probes = 3;
};

struct RouteConfig {
  std::vector<RungConfig> rungs;
  std::map<std::string, LastResortConfig> last_resort;
  uint32_t patience_ms = 1'000;
  BreakerConfig breaker;
};

struct SharedMemoryConfig {
  bool allow = false;
};

struct TracingConfig {
  std::string endpoint;
  bool timestamps = true;
  uint64_t rate = 1000;
};

struct LogConfig {
  enum class Format { kText, kJson };
  enum class Level { kError, kWarning, kInfo, kDebug, kTrace };
  Format format = Format::kText;
  Level level = Level::kInfo;
};

struct ServerConfig {
  RepositoryConfig repository;
  HttpConfig http;
  GrpcConfig grpc;
  PortConfig admin{.port = 8003};
  MetricsConfig metrics;
  ComputeConfig compute;
  DeviceConfig device;
  TlsConfig tls;
  AuthConfig auth;
  LimitsConfig limits;
  DeadlineConfig deadline;
  std::map<std::string, RouteConfig> routes;
  bool fault_injection = false;
  SharedMemoryConfig shared_memory;
  TracingConfig tracing;
  LogConfig log;
  uint32_t drain_ms = 1000;
};

/// Where gRPC listens.
inline const std::string& GrpcHost(const ServerConfig& config) {
  return config.grpc.host.empty() ? config.http.host : config.grpc.host;
}

/// The keys of the file, bound to `config`.
ConfigKeys ServerConfigKeys(ServerConfig* config);

}  // namespace verdict
