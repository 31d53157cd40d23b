#include "serve/config/load_server_config.h"

#include <algorithm>
#include <array>

#include "config/config_file.h"
#include "config/print_config.h"
#include "config/read_config.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

/// Checks a configuration as a whole.
class Checker {
 public:
  Checker(const YamlNode& root, const ServerConfig& config, ConfigProblems* problems)
      : root_(root), config_(config), problems_(*problems) {}

  void Check() {
    CheckRepository();
    CheckPorts();
    CheckTls();
    CheckTimes();
    CheckRoutes();
  }

 private:
  void Add(std::string_view path, const std::string& what) { problems_.AddAt(root_, path, what); }

  void CheckRepository() {
    const RepositoryConfig& repository = config_.repository;
    if (!repository.load.empty() && repository.mode != RepositoryConfig::Mode::kExplicit) {
      Add("repository.load", "counts in mode explicit only; set repository.mode or leave it out");
    }
    for (const std::string& name : repository.load) {
      const Status status = CheckModelName(name);
      if (!status.ok()) Add("repository.load", "'" + name + "': " + status.message());
    }
  }

  void CheckPorts() {
    struct Port {
      std::string section;
      std::string host;
      uint16_t port;
    };
    // 0 is in nobody's way.
    const uint16_t grpc_port = config_.grpc.enabled ? config_.grpc.port : uint16_t{0};
    const std::array<Port, 4> ports = {
        {{"http", config_.http.host, config_.http.port},
         {"grpc", GrpcHost(config_), grpc_port},
         {"admin", config_.admin.host, config_.admin.port},
         {"metrics", config_.metrics.listener.host, config_.metrics.listener.port}}};
    for (size_t i = 0; i < ports.size(); ++i) {
      if (ports[i].host.empty()) Add(ports[i].section + ".host", "is empty; write an address");
      for (size_t j = 0; j < i; ++j) {
        if (ports[i].port == 0 || ports[i].port != ports[j].port ||
            !Overlap(ports[i].host, ports[j].host)) {
          continue;
        }
        Add(ports[i].section + ".port", "is " + std::to_string(ports[i].port) + ", as " +
                                            ports[j].section + ".port is; change one of them");
      }
    }
  }

  static bool Overlap(const std::string& a, const std::string& b) {
    const auto is_any = [](const std::string& host) { return host == "0.0.0.0" || host == "::"; };
    return a == b || is_any(a) || is_any(b);
  }

  void CheckTls() {
    const TlsConfig& tls = config_.tls;
    if (tls.certificate.empty() != tls.key.empty()) {
      Add(tls.key.empty() ? "tls.key" : "tls.certificate",
          "is missing; certificate and key belong together");
    }
    const bool client_auth = tls.client_auth != TlsConfig::ClientAuth::kNone;
    if (client_auth && tls.certificate.empty()) {
      Add("tls.client_auth", "needs tls.certificate; set it");
    }
    if (client_auth && tls.client_ca.empty()) {
      Add("tls.client_auth", "needs tls.client_ca; set it");
    } else if (!client_auth && !tls.client_ca.empty()) {
      Add("tls.client_ca",
          "does nothing while tls.client_auth is none; set that or leave this out");
    }
  }

  void CheckTimes() {
    const DeadlineConfig& deadline = config_.deadline;
    if (deadline.max_us > 0 && deadline.default_us > deadline.max_us) {
      Add("deadline.default_us", "is " + std::to_string(deadline.default_us) +
                                     ", more than deadline.max_us; lower it or raise the other");
    }
    const ShedConfig& shed = config_.limits.shed;
    if (shed.queue_delay_limit_us > 0 &&
        shed.queue_delay_limit_us < shed.queue_delay_watermark_us) {
      Add("limits.shed.queue_delay_limit_us",
          "is less than limits.shed.queue_delay_watermark_us; raise it or lower the other");
    }
    if (shed.default_priority > shed.priority_levels) {
      Add("limits.shed.default_priority",
          "is more than limits.shed.priority_levels; lower it or raise the other");
    }
  }

  void CheckRoutes() {
    for (const auto& [name, route] : config_.routes) {
      const std::string path = "routes." + name;
      const Status named = CheckModelName(name);
      if (!named.ok()) Add(path, "'" + name + "': " + named.message());
      for (const RungConfig& rung : route.rungs) {
        const Status status = CheckModelName(rung.model);
        if (!status.ok()) Add(path + ".rungs", "'" + rung.model + "': " + status.message());
        if (config_.routes.contains(rung.model)) {
          Add(path + ".rungs", "'" + rung.model + "' is a route; name models");
        }
      }
      if (route.breaker.max_open_ms < route.breaker.open_ms) {
        Add(path + ".breaker.max_open_ms", "is less than open_ms; raise it or lower the other");
      }
    }
  }

  const YamlNode& root_;
  const ServerConfig& config_;
  ConfigProblems& problems_;
};

/// Reads the file into the keys. Returns: its tree; an empty one if it cannot be read.
YamlNode ReadFile(const std::filesystem::path& file, const ConfigKeys& keys,
                  ConfigProblems* problems) {
  const auto text = ReadConfigFile(file);
  if (!text.ok()) {
    problems->Add(text.status().message());
    return {};
  }
  auto root = ParseYaml(*text, file.string());
  if (!root.ok()) {
    problems->Add(root.status().message());
    return {};
  }
  ReadConfig(*root, keys, problems);
  return *std::move(root);
}

}  // namespace

LoadedServerConfig LoadServerConfig(const ServerConfigSources& sources) {
  LoadedServerConfig loaded;
  const ConfigKeys keys = ServerConfigKeys(&loaded.config);
  ConfigProblems problems(sources.file.empty() ? "configuration" : sources.file.string());
  YamlNode root;
  if (!sources.file.empty()) root = ReadFile(sources.file, keys, &problems);
  std::vector<ConfigOverride> overrides =
      EnvironmentOverrides(keys, sources.environment, &loaded.warnings);
  overrides.insert(overrides.end(), sources.flags.begin(), sources.flags.end());
  for (const ConfigOverride& setting : overrides) {
    const Status status = ApplyOverride(keys, setting);
    if (!status.ok()) problems.Add(status.message());
  }
  // A value that could not be read would be found to contradict others.
  if (problems.empty()) Checker(root, loaded.config, &problems).Check();
  loaded.problems = problems.lines();
  return loaded;
}

}  // namespace verdict
