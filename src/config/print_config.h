#pragma once

#include <string>

#include "config/config_key.h"

namespace verdict {

/// `text` as JSON, and thereby YAML, writes it: in double quotes.
std::string QuotedText(std::string_view text);

/// What the keys hold, as a YAML file that ReadConfig reads back to the same: one key a line, each
/// under its help. Optional sections that are absent are left out.
std::string PrintConfig(const ConfigKeys& keys);

}  // namespace verdict
