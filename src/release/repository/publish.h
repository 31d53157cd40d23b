#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/status.h"
#include "release/repository/signature.h"

namespace verdict {

struct Publication {
  std::filesystem::path engine;
  std::filesystem::path repository;
  std::string model;
  int64_t version = 0;          // 0: the next free one
  std::string metadata = "{}";  // a JSON object
  std::string tool;             // "verdict 0.1.0"
  std::optional<SigningKey> key;
};

/// How the hidden folders begin, beside the versions, in which they are made and taken apart.
inline constexpr std::string_view kUnfinishedPrefix = ".publish-";
inline constexpr std::string_view kDiscardedPrefix = ".discarded-";

/// Copies the engine into a hidden folder, reads it there, writes its manifest and signature, syncs
/// all and renames the folder to its version: readers see the whole version or none. Of several
/// writers each gets a version of its own; none is overwritten. Returns: the version.
/// Errors: kAlreadyExists (the version asked for), kInvalidArgument (name, metadata),
/// as ReadEngineFile (no engine), kUnavailable (cannot be written), kNotFound (no repository).
Result<int64_t> Publish(const Publication& publication);

}  // namespace verdict
