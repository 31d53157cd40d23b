#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"

namespace verdict {

/// The text of a configuration file, read in one go: unlike a mapping, it cannot change under us.
/// Errors: kNotFound, kInvalidArgument (not a regular file, larger than kMaxYamlBytes),
/// kUnavailable (cannot be read).
Result<std::string> ReadConfigFile(const std::filesystem::path& file);

}  // namespace verdict
