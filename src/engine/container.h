#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

// The outside of an engine file: header, section table, alignment, checksums. What the sections
// hold, writer.cc and reader.cc know; FORMAT.md describes both, byte for byte.

inline constexpr uint16_t kEngineFormatMajor = 1;
inline constexpr uint16_t kEngineFormatMinor = 1;

/// Where readers find things in the header; tests and fuzz targets patch files by these.
struct EngineHeaderLayout {
  static constexpr size_t kMajor = 8;
  static constexpr size_t kMinor = 10;
  static constexpr size_t kEndianness = 12;
  static constexpr size_t kHeaderBytes = 16;
  static constexpr size_t kSectionCount = 20;
  static constexpr size_t kFileBytes = 24;
  static constexpr size_t kSha256 = 32;
  static constexpr size_t kCrc32c = 64;
  static constexpr size_t kSize = 128;
  static constexpr size_t kEntrySize = 48;
};

/// One section to write. parts: its bytes, one after another.
struct SectionSource {
  std::string name;  // 1 to 16 bytes
  uint32_t alignment = 64;
  bool required = true;
  std::vector<std::span<const std::byte>> parts;
};

/// A whole file as pieces, ready for WriteFileAtomically. Points into itself and into the sources'
/// parts.
struct ContainerImage {
  ContainerImage() = default;
  ContainerImage(ContainerImage&&) = default;
  std::vector<std::byte> head;
  std::vector<std::span<const std::byte>> parts;
};

/// Lays out a file: header, table, and the sections in the order given.
ContainerImage BuildContainer(std::span<const SectionSource> sections,
                              uint16_t minor = kEngineFormatMinor);

/// One section of a file that was read.
struct SectionView {
  std::string name;
  uint64_t offset = 0;
  uint32_t alignment = 0;
  bool required = false;
  std::span<const std::byte> bytes;
};

struct Container {
  uint16_t major = 0;
  uint16_t minor = 0;
  std::string sha256;  // hex, of the whole file
  std::vector<SectionView> sections;

  /// The section of that name, or null.
  const SectionView* Find(std::string_view name) const;
};

/// True if a file that begins with `bytes` may be an engine file.
bool HasEngineMagic(std::span<const std::byte> bytes);

/// Verifies everything about a file that does not depend on what its sections hold: magic, version,
/// endianness, sizes, table, bounds, overlap, alignment, CRC32C of table and sections, SHA-256 over
/// all. Errors: kInvalidArgument (not an engine file), kFailedPrecondition (another major version),
/// kDataLoss (truncated or corrupt). Threads: pure. Cost: O(bytes), about 2 GB/s with SHA
/// instructions.
Result<Container> ReadContainer(std::span<const std::byte> bytes);

}  // namespace verdict
