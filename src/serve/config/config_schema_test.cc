#include "config/config_schema.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "config/override_config.h"
#include "release/repository/model_config_keys.h"
#include "serve/config/server_config.h"

namespace verdict {
namespace {

/// The published file must be what the keys say. With VERDICT_WRITE_SCHEMAS set it is written anew.
void ExpectPublished(const std::string& name, const std::string& schema) {
  const std::string path = std::string(VERDICT_SOURCE_DIR) + "/docs/reference/" + name;
  if (std::getenv("VERDICT_WRITE_SCHEMAS") != nullptr) std::ofstream(path) << schema;
  std::ostringstream published;
  published << std::ifstream(path).rdbuf();
  EXPECT_EQ(published.str(), schema)
      << path << " is out of date; write it with VERDICT_WRITE_SCHEMAS=1 and this test program";
}

TEST(ConfigSchema, OfTheServerIsPublished) {
  ServerConfig config;
  ExpectPublished("server.schema.json", ConfigSchema("The file of `verdict serve --config FILE`",
                                                     ServerConfigKeys(&config)));
}

TEST(ConfigSchema, OfAModelIsPublished) {
  ModelConfigDocument document;
  ExpectPublished("model.schema.json",
                  ConfigSchema("A model's config.yaml", ModelConfigKeys(&document)));
}

TEST(ServerConfigKeys, HaveDistinctEnvironmentVariables) {
  ServerConfig config;
  std::set<std::string> names;
  for (const std::string& path : OverridablePaths(ServerConfigKeys(&config))) {
    EXPECT_TRUE(names.insert(EnvironmentName(path)).second) << path;
  }
  EXPECT_TRUE(names.contains("VERDICT_HTTP_PORT"));
  EXPECT_TRUE(names.contains("VERDICT_DRAIN_MS"));
  EXPECT_TRUE(names.contains("VERDICT_LIMITS_CLIENT_MAX_IN_FLIGHT"));
}

}  // namespace
}  // namespace verdict
