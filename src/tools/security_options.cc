#include "tools/security_options.h"

#include <chrono>

namespace verdict {
namespace {

TlsOptions TlsOptionsOf(const TlsConfig& config) {
  TlsOptions options;
  options.certificate_chain = config.certificate;
  options.private_key = config.key;
  options.client_ca = config.client_ca;
  options.client_auth =
      config.client_auth == TlsConfig::ClientAuth::kRequired   ? ClientAuth::kRequired
      : config.client_auth == TlsConfig::ClientAuth::kOptional ? ClientAuth::kOptional
                                                               : ClientAuth::kNone;
  options.min_version =
      config.min_version == TlsConfig::Version::k13 ? TlsVersion::k13 : TlsVersion::k12;
  options.reload = std::chrono::seconds(config.reload_interval_s);
  return options;
}

RequestLimit RequestLimitOf(const RequestLimitConfig& config) {
  return {config.requests_per_s, config.burst, config.max_in_flight};
}

AdmissionOptions AdmissionOptionsOf(const AuthConfig& auth, const LimitsConfig& limits) {
  AdmissionOptions options;
  options.auth.clients_file = auth.clients_file;
  options.auth.admin_on_inference_port = auth.admin_on_inference_port;
  options.limits.total = RequestLimitOf(limits.total);
  options.limits.client = RequestLimitOf(limits.client);
  for (const auto& [name, limit] : limits.clients) {
    options.limits.named[name] = RequestLimitOf(limit);
  }
  options.limits.max_clients = limits.max_clients;
  options.shed.in_flight_watermark = limits.shed.in_flight_watermark;
  options.shed.queue_delay_watermark =
      std::chrono::microseconds(limits.shed.queue_delay_watermark_us);
  options.shed.queue_delay_limit = std::chrono::microseconds(limits.shed.queue_delay_limit_us);
  options.shed.priority_levels = limits.shed.priority_levels;
  options.shed.default_priority = limits.shed.default_priority;
  return options;
}

}  // namespace

void SetSecurityOptions(const ServerConfig& config, ServerOptions* options) {
  options->admin_host = config.admin.host;
  options->admin_port = config.admin.port;
  options->tls = TlsOptionsOf(config.tls);
  options->admission = AdmissionOptionsOf(config.auth, config.limits);
}

}  // namespace verdict
