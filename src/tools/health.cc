#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/terminal_text.h"
#include "serve/config/load_server_config.h"
#include "tools/serve_flags.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

constexpr size_t kMaxAnswerBytes = 4096;

struct Flags {
  ServeFlags serve;  // only where the configuration comes from
  bool ready = false;
  int timeout_ms = 2000;
  std::string certificate;
  std::string key;
};

size_t KeepAnswer(const char* data, size_t size, size_t count, void* user) {
  auto& answer = *static_cast<std::string*>(user);
  answer.append(data, std::min(size * count, kMaxAnswerBytes - answer.size()));
  return size * count;
}

/// Where this machine reaches a server that listens on `host`.
std::string ReachableHost(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "[::1]";
  return host.find(':') != std::string::npos ? "[" + host + "]" : host;
}

Status Ask(const ServerConfig& config, const Flags& flags) {
  const bool tls = !config.tls.certificate.empty();
  const std::string url = std::string(tls ? "https" : "http") + "://" +
                          ReachableHost(config.http.host) + ":" + std::to_string(config.http.port) +
                          "/v2/health/" + (flags.ready ? "ready" : "live");
  VERDICT_CHECK(::curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
  const std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> curl(::curl_easy_init(),
                                                                   &::curl_easy_cleanup);
  VERDICT_CHECK(curl != nullptr);
  std::string answer;
  std::array<char, CURL_ERROR_SIZE> reason{};
  ::curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  ::curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // whatever the environment says
  ::curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(flags.timeout_ms));
  ::curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, reason.data());
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, KeepAnswer);
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  if (tls) {
    // The certificate names the server as clients know it, not as it is reached here; nothing
    // secret is sent. Where callers must show one, the server's own may do.
    ::curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYPEER, 0L);
    ::curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYHOST, 0L);
    const bool own = flags.certificate.empty();
    const std::string& certificate = own ? config.tls.certificate : flags.certificate;
    const std::string& key = own ? config.tls.key : flags.key;
    if (!own || config.tls.client_auth != TlsConfig::ClientAuth::kNone) {
      ::curl_easy_setopt(curl.get(), CURLOPT_SSLCERT, certificate.c_str());
      ::curl_easy_setopt(curl.get(), CURLOPT_SSLKEY, key.c_str());
    }
  }
  const CURLcode result = ::curl_easy_perform(curl.get());
  if (result != CURLE_OK) {
    std::string message =
        url + ": " + (reason[0] != '\0' ? reason.data() : ::curl_easy_strerror(result));
    if (config.tls.client_auth == TlsConfig::ClientAuth::kRequired) {
      message += "; if it is the certificate that the server refuses, give --cert and --key";
    }
    return Unavailable(message);
  }
  long code = 0;
  ::curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  if (code == 200) {
    std::puts(flags.ready ? "ready" : "live");
    return OkStatus();
  }
  const std::string text = TerminalText(answer);
  return Unavailable(url + " answers " + std::to_string(code) + (text.empty() ? "" : ": ") + text);
}

Status Run(const Flags& flags) {
  LoadedServerConfig loaded = LoadServerConfig(SourcesOf(flags.serve));
  if (!loaded.problems.empty()) return InvalidArgument(loaded.problems.front());
  if (loaded.config.http.port == 0) {
    return InvalidArgument(
        "http.port is 0: the server has picked a free one; say which, with --http-port");
  }
  return Ask(loaded.config, flags);
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("--config", flags->serve.file, "the server's; its environment counts too")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "--http-port",
         [flags](const std::string& text) {
           flags->serve.settings.push_back({"--http-port", "http.port", text});
         },
         "overrules it")
      ->type_name("PORT")
      ->check(CLI::Range(1, 65535).description(""));
  app.add_flag("--ready", flags->ready, "asks whether models are served, not only for life");
  app.add_option("--timeout-ms", flags->timeout_ms, "then it counts as dead; default 2000")
      ->type_name("MS")
      ->check(CLI::Range(1, 3'600'000).description(""));
  auto* certificate =
      app.add_option("--cert", flags->certificate, "PEM to show; default the server's own")
          ->type_name("FILE");
  auto* key = app.add_option("--key", flags->key, "PEM of its private key")->type_name("FILE");
  certificate->needs(key);
  key->needs(certificate);
  return [flags] { return Run(*flags); };
}

}  // namespace

const Subcommand kHealthCommand = {
    .name = "health",
    .summary = "Asks the server on this machine whether it lives.",
    .example = "  verdict health --config /etc/verdict/server.yaml",
    .declare = Declare,
};

}  // namespace verdict
