#include "backends/device/build_options.h"

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace verdict {
namespace {

struct Flag {
  std::string_view name;
  bool DeviceBuildOptions::*member;
};
constexpr std::array kFlags = {
    Flag{"tf32", &DeviceBuildOptions::tf32},
    Flag{"fp16", &DeviceBuildOptions::fp16},
    Flag{"bf16", &DeviceBuildOptions::bf16},
    Flag{"int8", &DeviceBuildOptions::int8},
    Flag{"refittable", &DeviceBuildOptions::refittable},
    Flag{"detailed_layers", &DeviceBuildOptions::detailed_layers},
};
constexpr std::string_view kMemoryPool = "memory_pool:";

template <typename T>
bool ParseNumber(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

/// True if the value is one that the option can have.
bool ParseOption(std::string_view name, const std::string& value, DeviceBuildOptions& options) {
  for (const Flag& flag : kFlags) {
    if (name != flag.name) continue;
    options.*flag.member = value == "1";
    return value == "0" || value == "1";
  }
  if (name == "optimization_level") return ParseNumber(value, options.optimization_level);
  if (name == "calibration_cache") {
    options.calibration_cache = value;
    return true;
  }
  if (name.starts_with(kMemoryPool)) {
    name.remove_prefix(kMemoryPool.size());
    return ParseNumber(value, options.memory_pools[std::string(name)]);
  }
  if (name != "tactic_sources") return false;
  for (size_t begin = 0; begin < value.size();) {
    const size_t end = std::min(value.find(',', begin), value.size());
    options.tactic_sources.push_back(value.substr(begin, end - begin));
    begin = end + 1;
  }
  return true;
}

}  // namespace

std::map<std::string, std::string> BuildOptionsText(const DeviceBuildOptions& options) {
  const DeviceBuildOptions defaults;
  std::map<std::string, std::string> text;
  for (const Flag& flag : kFlags) {
    const bool value = options.*flag.member;
    if (value != defaults.*flag.member) text.emplace(flag.name, value ? "1" : "0");
  }
  if (options.optimization_level != defaults.optimization_level) {
    text.emplace("optimization_level", std::to_string(options.optimization_level));
  }
  if (!options.calibration_cache.empty()) {
    text.emplace("calibration_cache", options.calibration_cache);
  }
  for (const auto& [pool, bytes] : options.memory_pools) {
    text.emplace(std::string(kMemoryPool) + pool, std::to_string(bytes));
  }
  std::string sources;
  for (const std::string& source : options.tactic_sources) {
    sources += (sources.empty() ? "" : ",") + source;
  }
  if (!sources.empty()) text.emplace("tactic_sources", sources);
  return text;
}

Result<DeviceBuildOptions> ParseBuildOptions(const std::map<std::string, std::string>& text) {
  DeviceBuildOptions options;
  for (const auto& [name, value] : text) {
    if (!ParseOption(name, value, options)) {
      return InvalidArgument("the device plan has a build option '" + name +
                             "' that this version does not know; build the engine again");
    }
  }
  return options;
}

}  // namespace verdict
