#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/config_key.h"

namespace verdict {

/// One value from outside of the file.
struct ConfigOverride {
  std::string source;  // "--http-port", "VERDICT_HTTP_PORT", "": stands in messages
  std::string path;    // "http.port"
  std::string text;    // a list: its entries separated by commas
};

/// The key at a dotted path of sections; null if there is none.
const ConfigKey* FindConfigKey(const ConfigKeys& keys, std::string_view path);

/// Sets a key from one word: as SetScalar, and lists from their entries separated by commas.
/// Errors: as SetScalar.
Status SetFromWord(const ConfigKey& key, std::string_view text);

/// Errors: kInvalidArgument "source: key 'path': what is wrong; what to do": no such key, or as
/// SetScalar; a section, or a map of names, can only stand in the file.
Status ApplyOverride(const ConfigKeys& keys, const ConfigOverride& setting);

/// The paths that ApplyOverride takes: "http.port", in the order of the keys.
std::vector<std::string> OverridablePaths(const ConfigKeys& keys);

/// "http.port" -> "VERDICT_HTTP_PORT".
std::string EnvironmentName(std::string_view path);

/// The overrides among environment variables (name, value). `warnings` gets a line for each that
/// begins with VERDICT_ and names no key, with the nearest one that does.
std::vector<ConfigOverride> EnvironmentOverrides(
    const ConfigKeys& keys, std::span<const std::pair<std::string, std::string>> environment,
    std::vector<std::string>* warnings);

}  // namespace verdict
