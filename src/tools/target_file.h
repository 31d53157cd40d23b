#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace verdict {

/// Where the output that a flag asks for is written, checked before any work: a typing error in the
/// path should cost neither a build nor a file of the user's. flag: for messages. sources: files
/// the command reads, each with what it is ("the model"); empty paths are passed over. Returns:
/// `path`, or what it points to if it is a symlink, which is written through and stays. Errors,
/// naming the flag: kNotFound (no such folder), kInvalidArgument (a folder, one of the sources, a
/// loop of symlinks).
Result<std::filesystem::path> CheckTarget(
    const std::string& flag, const std::filesystem::path& path,
    const std::vector<std::pair<std::string_view, std::filesystem::path>>& sources);

}  // namespace verdict
