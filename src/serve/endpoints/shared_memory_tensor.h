#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "ir/types.h"
#include "serve/shared_memory/region_registry.h"

namespace verdict {

/// A tensor's parameters shared_memory_region, shared_memory_byte_size and shared_memory_offset.
struct SharedMemoryParameters {
  std::optional<std::string_view> region;
  std::optional<uint64_t> byte_size;
  std::optional<uint64_t> offset;

  bool given() const { return region || byte_size || offset; }
};

/// Where in a region a tensor is; keeps the region alive.
struct SharedMemoryRange {
  std::shared_ptr<const SharedMemoryRegion> region;  // null: not in shared memory
  uint64_t offset = 0;                               // into the region
  uint64_t byte_size = 0;

  /// Copies the range's bytes out. Errors: those of SharedMemoryRegion::Read.
  Status Read(std::span<std::byte> bytes) const { return region->Read(offset, bytes); }

  /// Writes a tensor, as the binary form has it, to the start of the range. Returns: its bytes.
  /// Errors: kInvalidArgument if it has more than byte_size; those of SharedMemoryRegion::Write.
  Result<uint64_t> WriteTensor(const TensorView& tensor) const;
};

/// Finds what the parameters name.
///
/// registry: null where there is none.
/// Errors: kInvalidArgument (no region, no size), kOutOfRange (not within the region);
/// those of RegionRegistry::Find.
Result<SharedMemoryRange> FindSharedMemory(const RegionRegistry* registry,
                                           const SharedMemoryParameters& parameters);

}  // namespace verdict
