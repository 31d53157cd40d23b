#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "plan/partition.h"
#include "plan/plan.h"

namespace verdict {

inline constexpr float kMinGoldenTolerance = 1e-5F;
inline constexpr float kMaxGoldenTolerance = 1e-2F;
inline constexpr float kMaxDeviceTolerance = 0.1F;

/// A few inputs and what the reference kernels make of them, in the graph's order of inputs and
/// outputs. kString tensors are allowed.
struct GoldenVector {
  std::vector<Constant> inputs;
  std::vector<Constant> outputs;
  /// How far float outputs may be off, relative plus absolute; in [kMinGoldenTolerance,
  /// kMaxGoldenTolerance]. More than the least where the model itself amplifies rounding.
  float tolerance = kMinGoldenTolerance;
};

/// A part of a device plan, and the device's program of it (none for parts on the host). See
/// device_parts.h.
struct DevicePart {
  Part part;
  std::span<const std::byte> program;
  Sha256Digest digest{};  // of the program, and of what it was built from; zeros: not known
  std::shared_ptr<const void> owner;
};

/// How `graph` (the stored one, not the lowered) runs on a device: optional, disposable, and of no
/// use where the device's fingerprint is another. The CPU's plan stands beside it.
struct DevicePlan {
  std::string backend;      // "tensorrt"
  std::string fingerprint;  // DeviceInfo::fingerprint of where it was built
  std::string device;       // DeviceInfo::name and versions, for people
  /// The build's options as text, enough to build it again: "fp16", "memory_pool:workspace"="…".
  std::map<std::string, std::string> options;
  /// Rows of a batch do not depend on each other, as the build has tried.
  bool rows_independent = false;
  /// How far float outputs may be off against golden vectors in this plan's precision, relative
  /// plus absolute; in [kMinGoldenTolerance, kMaxDeviceTolerance].
  float tolerance = kMinGoldenTolerance;
  std::vector<DevicePart> parts;
};

/// A section of an engine file, for `verdict inspect`.
struct SectionInfo {
  std::string name;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

/// All that an engine file holds. After reading, constants and `packed` point into the mapped file.
struct EngineContents {
  Graph graph;
  /// What is planned and run instead: Lower(graph), where that is another one. Not stored.
  std::optional<Graph> lowered;
  const Graph& executable() const { return lowered ? *lowered : graph; }
  std::vector<Profile> profiles;
  Plan plan;
  std::span<const std::byte> packed;
  std::shared_ptr<const void> packed_owner;
  std::vector<GoldenVector> golden;
  std::vector<DevicePlan> device_plans;
  std::map<std::string, std::string>
      metadata;  // "builder", "source", "source_sha256", "producer_name", …

  // Set by reading alone.
  std::string sha256;  // hex, of the whole file
  std::string format;  // "1.1"
  uint64_t file_bytes = 0;
  std::vector<SectionInfo> sections;
};

/// Writes the file described in engine/FORMAT.md, atomically: a failed write leaves an older file
/// as it was. Value ids stay; constants that nothing reads are left out. Errors: as
/// WriteFileAtomically; kResourceExhausted if a section outgrows what readers accept.
Status WriteEngineFile(const std::filesystem::path& path, const EngineContents& contents);

/// The bytes that WriteEngineFile writes.
Result<std::vector<std::byte>> SerializeEngine(const EngineContents& contents);

/// How the bytes of an engine file come into memory.
enum class FileAccess {
  /// Mapped: processes share its pages, and it must not be changed in place meanwhile.
  kMap,
  /// Read: what happens to the file later does not matter. For servers.
  kRead,
};

/// Maps (or reads) and verifies a file: header, section table, checksums, then every count, offset,
/// size, enum and cross-reference before it is used. The graph has passed VerifyGraph and its
/// shapes are what the shape rules infer; no two values that are live at once share memory. Nothing
/// is allocated from an unchecked size. Whether a tactic accepts its node and the packed bytes it
/// is given, the caller has to ask the tactic. Errors: kNotFound; kInvalidArgument (not an engine
/// file); kDataLoss (truncated, corrupt, with the section's name); kFailedPrecondition (written by
/// a newer version); as FileCopy::Read. Each says what to do. Threads: pure. Cost: O(bytes) for the
/// checksums.
Result<EngineContents> ReadEngineFile(const std::filesystem::path& path,
                                      FileAccess access = FileAccess::kMap);

/// As ReadEngineFile, on bytes in memory that `owner` keeps alive; they are copied if they are not
/// aligned to 64 bytes. `name` stands for the file in messages.
Result<EngineContents> ParseEngine(std::span<const std::byte> bytes,
                                   std::shared_ptr<const void> owner, const std::string& name);

/// A graph and its profiles (maybe none), in the same form as within an engine file: for another
/// process. Errors: as SerializeEngine.
struct GraphContents {
  Graph graph;
  std::vector<Profile> profiles;
};
Result<std::vector<std::byte>> SerializeGraph(const Graph& graph,
                                              std::span<const Profile> profiles);

/// The inverse, as distrustful as ParseEngine; constants point into the bytes, which `owner` keeps
/// alive. Errors: as ParseEngine; kInvalidArgument also if the bytes do not begin at a multiple of
/// 64.
Result<GraphContents> ParseSerializedGraph(std::span<const std::byte> bytes,
                                           std::shared_ptr<const void> owner);

}  // namespace verdict
