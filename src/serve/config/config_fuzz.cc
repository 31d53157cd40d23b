// A configuration file, as the server's and as a model's. What is accepted and printed must be
// read back to the same.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/print_config.h"
#include "config/read_config.h"
#include "config/yaml_tree.h"
#include "release/repository/model_config.h"
#include "release/repository/model_config_keys.h"
#include "serve/config/server_config.h"

namespace {

using verdict::ConfigKeys;

template <typename Config>
void ReadAndPrint(const verdict::YamlNode& root, ConfigKeys (*keys)(Config*)) {
  Config config;
  verdict::ConfigProblems problems("fuzz");
  ReadConfig(root, keys(&config), &problems);
  if (!problems.empty()) {
    for (const std::string& line : problems.lines()) {
      if (line.empty()) std::abort();
    }
    return;
  }
  const std::string printed = PrintConfig(keys(&config));
  Config again;
  const auto printed_root = verdict::ParseYaml(printed, "printed");
  if (!printed_root.ok()) std::abort();
  ReadConfig(*printed_root, keys(&again), &problems);
  if (!problems.empty() || PrintConfig(keys(&again)) != printed) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto root = verdict::ParseYaml(text, "fuzz");
  if (root.ok()) {
    ReadAndPrint(*root, verdict::ServerConfigKeys);
    ReadAndPrint(*root, verdict::ModelConfigKeys);
  }
  (void)verdict::ParseModelConfig(text, "fraud/config.yaml");
  return 0;
}
