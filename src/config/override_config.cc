#include "config/override_config.h"

#include <algorithm>

#include "config/config_scalar.h"
#include "config/nearest_name.h"

namespace verdict {
namespace {

constexpr std::string_view kEnvironmentPrefix = "VERDICT_";

std::vector<std::string> SplitAtCommas(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

void CollectPaths(const ConfigKeys& keys, const std::string& prefix,
                  std::vector<std::string>* paths) {
  for (const ConfigKey& key : keys) {
    if (const auto* section = std::get_if<SectionValue>(&key.value)) {
      CollectPaths(section->keys, prefix + key.name + ".", paths);
    } else if (key.value.index() <= ConfigValue(IntegerListValue{}).index()) {
      paths->push_back(prefix + key.name);
    }
  }
}

}  // namespace

const ConfigKey* FindConfigKey(const ConfigKeys& keys, std::string_view path) {
  const std::string_view name = path.substr(0, path.find('.'));
  const auto key = std::ranges::find(keys, name, &ConfigKey::name);
  if (key == keys.end()) return nullptr;
  if (name.size() == path.size()) return &*key;
  const auto* section = std::get_if<SectionValue>(&key->value);
  return section == nullptr ? nullptr : FindConfigKey(section->keys, path.substr(name.size() + 1));
}

Status SetFromWord(const ConfigKey& key, std::string_view text) {
  if (const auto* texts = std::get_if<TextListValue>(&key.value)) {
    VERDICT_RETURN_IF_ERROR(CheckConfigText(text, ScalarForm::kOverride));
    *texts->target = SplitAtCommas(text);
    return OkStatus();
  }
  if (const auto* integers = std::get_if<IntegerListValue>(&key.value)) {
    std::vector<int64_t> values;
    for (const std::string& part : SplitAtCommas(text)) {
      VERDICT_ASSIGN_OR_RETURN(const int64_t value,
                               ParseConfigInteger(part, integers->min, integers->max));
      values.push_back(value);
    }
    *integers->target = std::move(values);
    return OkStatus();
  }
  return SetScalar(key, text, ScalarForm::kOverride);
}

Status ApplyOverride(const ConfigKeys& keys, const ConfigOverride& setting) {
  const std::string source = setting.source.empty() ? "" : setting.source + ": ";
  const std::string place = source + "key '" + setting.path + "'";
  const std::vector<std::string> paths = OverridablePaths(keys);
  const ConfigKey* key = FindConfigKey(keys, setting.path);
  if (key == nullptr) {
    return InvalidArgument(place + ": there is no such key" + DidYouMean(setting.path, paths) +
                           "; correct it or leave it out");
  }
  if (std::ranges::find(paths, setting.path) == paths.end()) {
    return InvalidArgument(place + ": can be set in the configuration file only");
  }
  return SetFromWord(*key, setting.text).WithContext(place);
}

std::vector<std::string> OverridablePaths(const ConfigKeys& keys) {
  std::vector<std::string> paths;
  CollectPaths(keys, "", &paths);
  return paths;
}

std::string EnvironmentName(std::string_view path) {
  std::string name(kEnvironmentPrefix);
  for (const char c : path) {
    const bool lower = c >= 'a' && c <= 'z';
    name += c == '.' ? '_' : lower ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return name;
}

std::vector<ConfigOverride> EnvironmentOverrides(
    const ConfigKeys& keys, std::span<const std::pair<std::string, std::string>> environment,
    std::vector<std::string>* warnings) {
  const std::vector<std::string> paths = OverridablePaths(keys);
  std::vector<std::string> names;
  names.reserve(paths.size());
  for (const std::string& path : paths) names.push_back(EnvironmentName(path));
  std::vector<ConfigOverride> overrides;
  for (const auto& [name, text] : environment) {
    if (!name.starts_with(kEnvironmentPrefix)) continue;
    const auto found = std::ranges::find(names, name);
    if (found != names.end()) {
      overrides.push_back({name, paths[static_cast<size_t>(found - names.begin())], text});
    } else {
      warnings->push_back("environment variable " + name + " names no key and is passed over" +
                          DidYouMean(name, names));
    }
  }
  return overrides;
}

}  // namespace verdict
