#include "serve/config/load_server_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "config/print_config.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LoadServerConfigTest : public testing::Test {
 protected:
  ~LoadServerConfigTest() override { std::filesystem::remove(file_); }

  /// Loads a file of that text.
  LoadedServerConfig Load(const std::string& text) {
    std::ofstream(file_) << text;
    sources_.file = file_;
    return LoadServerConfig(sources_);
  }

  const std::filesystem::path file_ =
      std::filesystem::path(testing::TempDir()) / ("server" + std::to_string(getpid()) + ".yaml");
  ServerConfigSources sources_;
};

TEST_F(LoadServerConfigTest, HasDefaultsWithoutSources) {
  const LoadedServerConfig loaded = LoadServerConfig({});
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_EQ(loaded.config.http.port, 8000);
  EXPECT_EQ(loaded.config.metrics.listener.host, "127.0.0.1");
  EXPECT_EQ(loaded.config.metrics.listener.port, 8002);
  EXPECT_EQ(loaded.config.admin.port, 8003);
  EXPECT_EQ(loaded.config.drain_ms, 1000u);
}

TEST_F(LoadServerConfigTest, FlagsOverruleTheEnvironmentThatOverrulesTheFile) {
  const std::string text = "http: {port: 1, max_connections: 1, idle_timeout_s: 1}\n";
  sources_.environment = {{"VERDICT_HTTP_PORT", "2"}, {"VERDICT_HTTP_MAX_CONNECTIONS", "2"}};
  sources_.flags = {{"--http-port", "http.port", "3"}};
  const LoadedServerConfig loaded = Load(text);
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_EQ(loaded.config.http.port, 3);
  EXPECT_EQ(loaded.config.http.max_connections, 2);
  EXPECT_EQ(loaded.config.http.idle_timeout_s, 1u);
  EXPECT_EQ(loaded.config.http.read_timeout_s, 30u);
}

TEST_F(LoadServerConfigTest, ReportsTheProblemsOfAllSources) {
  sources_.environment = {{"VERDICT_DRAIN_MS", "soon"}, {"VERDICT_HTTP_PROT", "1"}};
  sources_.flags = {{"--http-port", "http.port", "65536"}};
  const LoadedServerConfig loaded = Load("htpp: {}\nmetrics: {host: 1}\n");
  EXPECT_THAT(
      loaded.problems,
      ElementsAre(HasSubstr(":1:1: key 'htpp': there is no such key (did you mean 'http'?)"),
                  HasSubstr(":2:17: key 'metrics.host'"),
                  HasSubstr("VERDICT_DRAIN_MS: key 'drain_ms': 'soon'"),
                  HasSubstr("--http-port: key 'http.port': '65536'")));
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("did you mean 'VERDICT_HTTP_PORT'?")));
}

TEST_F(LoadServerConfigTest, RefusesAFileThatIsNone) {
  sources_.file = "/nonexistent/server.yaml";
  EXPECT_THAT(LoadServerConfig(sources_).problems,
              ElementsAre("/nonexistent/server.yaml: there is no such file; correct the path"));
}

TEST_F(LoadServerConfigTest, RefusesWhatContradicts) {
  struct Case {
    const char* text;
    const char* error;
  };
  for (const Case& c : {
           Case{"metrics: {port: 8000}", ":1:17: key 'metrics.port': is 8000, as http.port is"},
           Case{"http: {host: ''}", "key 'http.host': is empty"},
           Case{"repository: {load: [a]}", "counts in mode explicit only"},
           Case{"repository: {mode: explicit, load: ['../x']}", "'../x': "},
           Case{"tls: {certificate: c.pem}", "key 'tls.key': is missing"},
           Case{"tls: {key: k.pem}", "key 'tls.certificate': is missing"},
           Case{"tls: {client_auth: required}", "needs tls.certificate"},
           Case{"tls: {certificate: c, key: k, client_auth: optional}", "needs tls.client_ca"},
           Case{"tls: {client_ca: c}", "does nothing while tls.client_auth is none"},
           Case{"deadline: {default_us: 5, max_us: 4}", "is 5, more than deadline.max_us"},
           Case{"limits: {shed: {queue_delay_watermark_us: 5, queue_delay_limit_us: 4}}",
                "is less than limits.shed.queue_delay_watermark_us"},
           Case{"limits: {shed: {default_priority: 4}}", "is more than"},
       }) {
    EXPECT_THAT(Load(c.text).problems, testing::Contains(HasSubstr(c.error))) << c.text;
  }
  EXPECT_THAT(Load("http: {host: 127.0.0.2}\nmetrics: {port: 8000}").problems, IsEmpty());
  EXPECT_THAT(Load("http: {port: 0}\nmetrics: {port: 0}").problems, IsEmpty());
}

TEST_F(LoadServerConfigTest, PrintsWhatItReads) {
  ServerConfig config;
  const std::string printed = PrintConfig(ServerConfigKeys(&config));
  LoadedServerConfig loaded = Load(printed);
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_EQ(PrintConfig(ServerConfigKeys(&loaded.config)), printed);
}

}  // namespace
}  // namespace verdict
