#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace verdict {

/// A few inputs and what the reference kernels make of them, in the graph's order of inputs and
/// outputs. kString tensors are allowed.
struct GoldenVector {
  std::vector<Constant> inputs;
  std::vector<Constant> outputs;
};

/// All that an engine file holds. After reading, constants and `packed` point into the mapped file.
struct EngineContents {
  Graph graph;
  std::vector<Profile> profiles;
  Plan plan;
  std::span<const std::byte> packed;
  std::shared_ptr<const void> packed_owner;
  std::vector<GoldenVector> golden;
  std::map<std::string, std::string>
      metadata;        // "builder", "source_sha256", "created", producer, …
  std::string sha256;  // hex, of the whole file; set by ReadEngineFile
};

/// Writes the file described in engine/FORMAT.md, atomically: a failed write leaves an older file
/// as it was. Errors: as WriteFileAtomically.
Status WriteEngineFile(const std::filesystem::path& path, const EngineContents& contents);

/// Maps and verifies a file: header, section table, checksums, then every count, offset, size, enum
/// and cross-reference before it is used. The graph has passed VerifyGraph. Nothing is allocated
/// from an unchecked size. Errors: kNotFound; kInvalidArgument (not an engine file); kDataLoss
/// (truncated, corrupt, with the section's name); kFailedPrecondition (written by a newer version).
/// Each says what to do.
Result<EngineContents> ReadEngineFile(const std::filesystem::path& path);

/// As ReadEngineFile, on bytes in memory that `owner` keeps alive. `name` stands for the file in
/// messages.
Result<EngineContents> ParseEngine(std::span<const std::byte> bytes,
                                   std::shared_ptr<const void> owner, const std::string& name);

}  // namespace verdict
