#pragma once

#include <string>

#include "config/config_key.h"

namespace verdict {

/// The JSON schema (draft 2020-12) of what ReadConfig accepts, with descriptions, ranges and the
/// values that the keys hold now as defaults. Ends with a newline.
std::string ConfigSchema(const std::string& title, const ConfigKeys& keys);

}  // namespace verdict
