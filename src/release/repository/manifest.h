#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

inline constexpr std::string_view kManifestFileName = "manifest.json";
inline constexpr size_t kMaxManifestBytes = size_t{1} << 20;
inline constexpr size_t kMaxManifestFiles = 1000;
inline constexpr size_t kMaxManifestDepth = 32;     // of JSON, metadata included
inline constexpr size_t kMaxManifestPathDepth = 8;  // folders and file
inline constexpr size_t kMaxManifestPathBytes = 512;
inline constexpr int64_t kMaxManifestFileBytes = int64_t{1} << 40;

/// One file of a version.
struct ManifestFile {
  std::string path;  // relative to the version's folder
  uint64_t size = 0;
  std::string sha256;  // lower-case hexadecimal
};

/// What <model>/<version>/manifest.json says: which files make the version, and their digests.
struct Manifest {
  std::string model;
  int64_t version = 0;
  std::string created;              // UTC, as 2027-06-30T12:00:00Z
  std::string tool;                 // who wrote it, as "verdict 0.1.0"
  std::string metadata = "{}";      // a JSON object, free-form
  std::vector<ManifestFile> files;  // by path
};

/// The manifest's one text: the same manifest gives the same bytes. Threads: pure.
std::string ManifestText(const Manifest& manifest);

/// Reads a manifest that need not be ours. Errors: kInvalidArgument that says what is wrong: no
/// JSON, unknown, missing or doubled keys, a path that leaves the folder, more than the limits
/// above, no model.engine. Threads: pure.
Result<Manifest> ParseManifest(std::string_view text);

/// OK if `text` is a JSON object within the limits, for Manifest::metadata. Returns: without
/// spaces. Errors: kInvalidArgument.
Result<std::string> CheckMetadata(std::string_view text);

/// The sizes and digests of `paths` (relative to `folder`), sorted. Errors: as VerifyFiles.
Result<std::vector<ManifestFile>> DescribeFiles(const std::filesystem::path& folder,
                                                std::vector<std::string> paths);

/// Compares the files with the manifest, sizes first, then digests. Links are not followed.
/// Errors: kDataLoss with the file (missing, other size, other digest, no regular file),
/// kUnavailable (cannot be read). Cost: reads all files.
Status VerifyFiles(const std::filesystem::path& folder, const Manifest& manifest);

/// OK if `bytes` are those of the manifest's model.engine, read from `path` after VerifyFiles: a
/// file that has been exchanged in between is not loaded. Errors: kDataLoss.
Status CheckEngineBytes(const Manifest& manifest, std::span<const std::byte> bytes,
                        const std::filesystem::path& path);

}  // namespace verdict
