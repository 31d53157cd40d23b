#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

/// By what a change of a file is noticed without reading it. All zero: there is no such file.
struct FileStamp {
  uint64_t inode = 0;
  int64_t mtime_ns = 0;
  uint64_t size = 0;
  bool operator==(const FileStamp&) const = default;
};

/// By what a change of a version is noticed.
struct VersionStamp {
  FileStamp engine, manifest, signature;
  bool operator==(const VersionStamp&) const = default;
};

/// The engine file of one version: DIR/<model>/<version>/model.engine.
struct VersionFile {
  int64_t version = 0;  // > 0
  std::filesystem::path engine;
  VersionStamp stamp;
};

struct ModelFolder {
  std::string name;
  std::vector<VersionFile> versions;  // ascending, not empty
  std::filesystem::path config;       // DIR/<model>/config.yaml, whether it exists or not
  FileStamp config_stamp;
};

/// What a repository folder holds.
struct RepositoryListing {
  std::vector<ModelFolder> models;      // by name
  std::vector<std::string> unreadable;  // names of models of which nothing can be said now, by name
  std::vector<std::string> ignored;     // one line for each entry that is not served, and why
};

inline constexpr std::string_view kEngineFileName = "model.engine";
inline constexpr size_t kMaxModelNameBytes = 200;

/// OK if `name` can name a model: letters, digits, '.', '_' and '-', not beginning with '.' or '-'.
/// Errors: kInvalidArgument that says what is wrong.
Status CheckModelName(std::string_view name);

/// The number of a version as folders and paths write it: digits without leading zero, > 0.
/// Errors: kInvalidArgument that quotes the text.
Result<int64_t> ParseVersion(std::string_view text);

/// Lists the models of a local folder; nothing is opened. Entries that are no model, no version or
/// only half written (no engine file yet) are reported in `ignored`; those beginning with '.' are
/// passed over. needs_manifest: versions without a manifest.json count as half written.
/// Errors: kNotFound, kInvalidArgument (not a folder), kUnavailable (cannot be read).
Result<RepositoryListing> ListRepository(const std::filesystem::path& root,
                                         bool needs_manifest = false);

/// The same for one model. Errors: kInvalidArgument (no name of a model), kNotFound (no such
/// folder, or no version in it), kUnavailable (cannot be read).
Result<ModelFolder> ListModel(const std::filesystem::path& root, std::string_view name,
                              bool needs_manifest = false);

}  // namespace verdict
