#include "tools/serve_options.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "tools/security_options.h"

namespace verdict {

namespace {

RepositoryOptions RepositoryOptionsOf(const RepositoryConfig& config) {
  using Mode = RepositoryConfig::Mode;
  RepositoryOptions options;
  options.mode = config.mode == Mode::kPoll       ? RepositoryOptions::Mode::kPoll
                 : config.mode == Mode::kExplicit ? RepositoryOptions::Mode::kExplicit
                                                  : RepositoryOptions::Mode::kStartup;
  options.poll_interval = std::chrono::seconds(config.poll_interval_s);
  options.load = config.load;
  options.load_threads = config.load_threads;
  options.strict_readiness = config.strict_readiness;
  options.require_manifest = config.require_manifest;
  options.trusted_keys = config.trusted_keys;
  return options;
}

RouteOptions RouteOptionsOf(const RouteConfig& config) {
  RouteOptions options;
  for (const RungConfig& rung : config.rungs) {
    options.rungs.push_back(
        {rung.model, rung.version == 0 ? std::string() : std::to_string(rung.version)});
  }
  for (const auto& [output, constant] : config.last_resort) {
    options.constants.emplace_back(output, static_cast<float>(constant.value));
  }
  options.patience = std::chrono::milliseconds(config.patience_ms);
  options.breaker.failures_in_row = config.breaker.failures_in_row;
  options.breaker.failure_share = config.breaker.failure_share;
  options.breaker.window_ms = config.breaker.window_ms;
  options.breaker.min_requests = config.breaker.min_requests;
  options.breaker.open_ms = config.breaker.open_ms;
  options.breaker.max_open_ms = config.breaker.max_open_ms;
  options.breaker.probes = config.breaker.probes;
  return options;
}

}  // namespace

ServerOptions ServerOptionsOf(const ServerConfig& config) {
  ServerOptions options;
  options.repository = config.repository.path;
  options.models = RepositoryOptionsOf(config.repository);
  options.http_host = config.http.host;
  options.http_port = config.http.port;
  options.grpc_enabled = config.grpc.enabled;
  options.grpc_host = GrpcHost(config);
  options.grpc_port = config.grpc.port;
  options.grpc_threads = config.grpc.threads;
  // gRPC counts the bytes of a message in an int.
  options.grpc_limits.max_message_bytes = static_cast<int>(
      std::min<uint64_t>(config.grpc.max_message_bytes, std::numeric_limits<int>::max()));
  options.grpc_limits.max_concurrent_streams = config.grpc.max_concurrent_streams;
  options.grpc_limits.reflection = config.grpc.reflection;
  options.metrics_host = config.metrics.listener.host;
  options.metrics_port = config.metrics.listener.port;
  options.gpu_metrics_interval = std::chrono::milliseconds(config.metrics.gpu_interval_ms);
  options.io_threads = config.http.io_threads;
  options.compute_threads = config.compute.threads;
  options.device.backend = config.device.backend;
  options.device.plugin_folder = config.device.plugin_dir;
  options.device.isolation = config.device.isolation == DeviceConfig::Isolation::kProcess
                                 ? DeviceIsolation::kProcess
                                 : DeviceIsolation::kNone;
  options.device.spin_us = config.device.spin_us;
  options.device.spinners = static_cast<uint32_t>(config.device.spinners);
  options.device.index = config.device.index;
  options.device.memory_limit_bytes = config.device.memory_limit_bytes;
  options.device.idle = std::chrono::seconds(config.device.idle_s);
  options.device.streams = config.device.streams;
  options.device.run_timeout_ms = config.device.run_timeout_ms;
  options.device.rebuild = config.device.rebuild == DeviceConfig::Rebuild::kBackground;
  options.device.stored_plans = config.device.plans == DeviceConfig::Plans::kStored;
  options.device.fault_injection = config.device.fault_injection;
  options.limits.max_body_bytes = config.http.max_body_bytes;
  // Room for a few of the largest, whatever that is.
  options.limits.max_held_body_bytes =
      std::max(config.http.max_held_body_bytes, 4 * config.http.max_body_bytes);
  options.limits.max_connections = config.http.max_connections;
  options.limits.idle_timeout = std::chrono::seconds(config.http.idle_timeout_s);
  options.limits.read_timeout = std::chrono::seconds(config.http.read_timeout_s);
  options.deadline.default_us = config.deadline.default_us;
  options.deadline.max_us = config.deadline.max_us;
  for (const auto& [name, route] : config.routes) {
    options.routes.emplace(name, RouteOptionsOf(route));
  }
  options.fault_injection = config.fault_injection;
  options.shared_memory.allowed = config.shared_memory.allow;
  options.trace_collector.url = config.tracing.endpoint;
  options.trace.timestamps = config.tracing.timestamps;
  options.trace.rate = config.tracing.rate;
  SetSecurityOptions(config, &options);
  options.drain = std::chrono::milliseconds(config.drain_ms);
  return options;
}

LogSettings LogSettingsOf(const LogConfig& config) {
  LogSettings settings;
  settings.format = config.format == LogConfig::Format::kJson ? LogFormat::kJson : LogFormat::kText;
  settings.warning = config.level >= LogConfig::Level::kWarning;
  settings.info = config.level >= LogConfig::Level::kInfo;
  settings.verbose_level = config.level >= LogConfig::Level::kTrace   ? 2
                           : config.level >= LogConfig::Level::kDebug ? 1
                                                                      : 0;
  return settings;
}

}  // namespace verdict
