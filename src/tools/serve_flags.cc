#include "tools/serve_flags.h"
#include "tools/help_all.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

namespace verdict {
namespace {

/// The one key that a server cannot do without.
constexpr const char* kRepository = "repository.path";

/// A key that has a flag of its own.
struct KeyFlag {
  const char* flag;
  const char* path;
  const char* type;
  const char* help;
  bool shows_default = false;
  bool rare = false;  // only in --print-config and the reference
};

constexpr std::array kKeyFlags = {
    KeyFlag{"--repository", kRepository, "DIR", "folder of <model>/<version>/model.engine"},
    KeyFlag{"--host", "http.host", "HOST", "address for inference", true},
    KeyFlag{"--http-port", "http.port", "PORT", "0 picks a free one", true},
    KeyFlag{"--grpc-port", "grpc.port", "PORT", "0 picks a free one", true},
    KeyFlag{"--metrics-host", "metrics.host", "HOST", "default 127.0.0.1"},
    KeyFlag{"--metrics-port", "metrics.port", "PORT", "0 picks a free one", true},
    KeyFlag{"--io-threads", "http.io_threads", "N", "threads that serve; default one a CPU"},
    KeyFlag{"--max-body-bytes", "http.max_body_bytes", "N",
            "default 64 MiB; JSON 8 MiB at most; else 413"},
    KeyFlag{"--max-connections", "http.max_connections", "N", "default 16384; more are told 503"},
    KeyFlag{"--drain-ms", "drain_ms", "MS", "at SIGTERM, from unready to refusing connections",
            true},
    KeyFlag{"--idle-timeout-s", "http.idle_timeout_s", "S", "closes an idle connection", true,
            true},
    KeyFlag{"--read-timeout-s", "http.read_timeout_s", "S", "from first to last byte of a request",
            true, true},
};

/// What is wrong with `text` as the value of a key, or "".
std::string WrongValue(const char* path, const std::string& text) {
  ServerConfig scratch;
  return SetFromWord(*FindConfigKey(ServerConfigKeys(&scratch), path), text).message();
}

std::string WrongSetting(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return "'" + text + "' is no KEY=VALUE, as http.port=8000";
  }
  ServerConfig scratch;
  return ApplyOverride(ServerConfigKeys(&scratch),
                       {"", text.substr(0, equals), text.substr(equals + 1)})
      .message();
}

std::string DefaultText(const char* path) {
  ServerConfig config;
  const ConfigKeys keys = ServerConfigKeys(&config);
  const ConfigValue& value = FindConfigKey(keys, path)->value;
  if (const auto* text = std::get_if<TextValue>(&value)) return *text->target;
  return std::to_string(std::get<IntegerValue>(value).get());
}

}  // namespace

void DeclareServeFlags(CLI::App& app, ServeFlags* flags) {
  app.add_option("--config", flags->file, "settings; --print-config shows them all")
      ->type_name("FILE");
  for (const KeyFlag& key : kKeyFlags) {
    auto* option = app.add_option_function<std::string>(
        key.flag,
        [flags, &key](const std::string& text) {
          flags->settings.push_back({key.flag, key.path, text});
        },
        key.help);
    option->type_name(key.type);
    option->check([&key](const std::string& text) { return WrongValue(key.path, text); });
    if (key.rare) option->group(kRareOptions);
    if (key.shows_default) option->default_str(DefaultText(key.path));
  }
  app.add_option_function<std::vector<std::string>>(
         "--set",
         [flags](const std::vector<std::string>& settings) {
           for (const std::string& text : settings) {
             const size_t equals = text.find('=');
             flags->settings.push_back({"--set", text.substr(0, equals), text.substr(equals + 1)});
           }
         },
         "any key of FILE, as admin.port=8013")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->check(WrongSetting);
  app.add_flag("--check", flags->check, "tries everything but the ports, and ends");
  app.add_flag("--print-config", flags->print_config, "prints the settings, and ends");
  app.parse_complete_callback([flags] {
    const bool is_set = std::ranges::find(flags->settings, kRepository, &ConfigOverride::path) !=
                            flags->settings.end() ||
                        std::getenv(EnvironmentName(kRepository).c_str()) != nullptr;
    if (!is_set && flags->file.empty() && !flags->print_config) {
      throw CLI::RequiredError("--repository or --config");
    }
  });
}

ServerConfigSources SourcesOf(const ServeFlags& flags) {
  ServerConfigSources sources{flags.file, {}, flags.settings};
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    if (text.substr(0, equals) == "VERDICT_PLUGIN_PATH") continue;  // PluginFolders reads it
    sources.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return sources;
}

}  // namespace verdict
