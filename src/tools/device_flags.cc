#include "tools/device_flags.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "backends/device/device_plugin.h"
#include "base/file.h"
#include "base/terminal_text.h"
#include "tools/help_all.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// 0 if it is none.
uint64_t ParseBytes(std::string_view text) {
  double unit = 0x1p20;
  constexpr std::pair<char, double> kUnits[] = {
      {'B', 1}, {'K', 0x1p10}, {'M', 0x1p20}, {'G', 0x1p30}};
  for (const auto& [suffix, bytes] : kUnits) {
    if (!text.ends_with(suffix)) continue;
    unit = bytes;
    text.remove_suffix(1);
    break;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  constexpr double kMost = 0x1p50;
  if (!is_number || !(number > 0) || number * unit > kMost) return 0;
  return static_cast<uint64_t>(std::llround(number * unit));
}

}  // namespace

Result<std::unique_ptr<Device>> OpenChosenDevice(const DeviceChoice& choice) {
  DeviceOptions options;
  options.index = choice.index;
  options.log = [](const std::string& line) {
    std::fprintf(stderr, "verdict: device: %s\n", TerminalText(line).c_str());
  };
  return OpenDevice(choice.backend, choice.plugin_folder, options);
}

void AddDeviceFlags(CLI::App& app, DeviceChoice& choice) {
  app.add_option("--pluginDir", choice.plugin_folder, "where libverdict_<backend>.so is")
      ->type_name("DIR")
      ->group(kRareOptions);
  app.add_option("--device", choice.index, "which of the backend's devices; default 0")
      ->type_name("N")
      ->check(CLI::Range(0, 1023).description(""))
      ->group(kRareOptions);
}

std::string DeviceBuildFlags::given() const {
  const std::pair<bool, const char*> flags[] = {
      {no_tf32, "--noTF32"},
      {explicit_precision, "--explicit"},
      {optimization_level >= 0, "--builderOptimizationLevel"},
      {!memory_pools.empty(), "--memPoolSize"},
      {!tactic_sources.empty(), "--tacticSources"},
      {refit, "--refit"},
      {verbosity != "detailed", "--profilingVerbosity"},
      {dump_layers, "--dumpLayerInfo"},
      {!export_layers.empty(), "--exportLayerInfo"}};
  for (const auto& [is_given, name] : flags) {
    if (is_given) return name;
  }
  return "";
}

void AddDeviceBuildFlags(CLI::App& app, DeviceBuildFlags& flags) {
  const auto rare = [](CLI::Option* option) { return option->group(kRareOptions); };
  rare(app.add_flag("--noTF32", flags.no_tf32, "device: products of float32 in full"));
  rare(app.add_flag("--explicit", flags.explicit_precision,
                    "device: our calibration, as Q/DQ and Casts in the graph"));
  rare(app.add_option("--builderOptimizationLevel", flags.optimization_level,
                      "device: how long to search, 0 to 5"))
      ->type_name("N")
      ->check(CLI::Range(0, 5).description(""));
  rare(app.add_option("--memPoolSize", flags.memory_pools, "device: workspace:64M"))
      ->type_name("POOL:SIZE")
      ->check([](const std::string& text) {
        const auto pools = ParseMemoryPools(text);
        return pools.ok() ? std::string() : pools.status().message();
      });
  rare(app.add_option("--tacticSources", flags.tactic_sources, "device: -CUDNN,+CUBLAS"))
      ->type_name("LIST");
  rare(app.add_flag("--refit", flags.refit, "device: programs that `verdict refit` can change"));
  rare(app.add_option("--profilingVerbosity", flags.verbosity,
                      "device: detailed (the default) or layer_names_only"))
      ->type_name("KIND")
      ->check(CLI::IsMember({"layer_names_only", "detailed"}).description(""));
  rare(app.add_flag("--dumpLayerInfo", flags.dump_layers, "device: print its layers as JSON"));
  rare(app.add_option("--exportLayerInfo", flags.export_layers, "device: write them to a file"))
      ->type_name("FILE");
}

Result<std::map<std::string, uint64_t>> ParseMemoryPools(const std::string& text) {
  std::map<std::string, uint64_t> pools;
  for (const std::string& part : Split(text)) {
    const size_t colon = part.find(':');
    const std::string name = part.substr(0, colon);
    const uint64_t bytes =
        colon == std::string::npos ? 0 : ParseBytes(std::string_view(part).substr(colon + 1));
    if (name.empty() || bytes == 0) {
      return InvalidArgument("'" + part +
                             "' is not a pool and its size; write workspace:64M (B, K, M, G; M "
                             "without one)");
    }
    if (!pools.emplace(name, bytes).second) {
      return InvalidArgument("pool '" + name + "' is there twice");
    }
  }
  return pools;
}

Result<DeviceBuildOptions> DeviceBuildOptionsOf(const DeviceBuildFlags& flags) {
  DeviceBuildOptions options;
  options.tf32 = !flags.no_tf32;
  options.optimization_level = flags.optimization_level;
  options.refittable = flags.refit;
  options.detailed_layers = flags.verbosity == "detailed";
  VERDICT_ASSIGN_OR_RETURN(options.memory_pools, ParseMemoryPools(flags.memory_pools));
  options.tactic_sources = Split(flags.tactic_sources);
  for (const std::string& source : options.tactic_sources) {
    if (source.size() > 1 && (source[0] == '+' || source[0] == '-')) continue;
    return InvalidArgument("--tacticSources: '" + source + "' does not begin with + or -");
  }
  return options;
}

Status ShowLayers(const std::string& json, bool dump, const std::string& file) {
  if (dump) {
    std::fwrite(json.data(), 1, json.size(), stdout);
    if (!json.ends_with('\n')) std::fputc('\n', stdout);
  }
  if (file.empty()) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(const auto target, CheckTarget("--exportLayerInfo", file, {}));
  const std::array parts = {std::as_bytes(std::span(json))};
  return WriteFileAtomically(target, parts);
}

}  // namespace verdict
