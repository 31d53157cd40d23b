#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

/// Part of a POSIX shared memory object, as a client has registered it. The object stays open as
/// long as this lives, whoever unlinks or unregisters it.
///
/// It is not mapped. Its owner may shrink it at any moment, and a mapping would then fault in the
/// middle of a request; its owner may also change it, and values that were checked could be others
/// when they are used. So it is read and written with pread and pwrite, into and from the server's
/// own memory: 4 KiB take about 1 us so, where a copy from a mapping takes 0.2 us.
class SharedMemoryRegion {
 public:
  ~SharedMemoryRegion();
  SharedMemoryRegion(const SharedMemoryRegion&) = delete;
  SharedMemoryRegion& operator=(const SharedMemoryRegion&) = delete;

  const std::string& name() const { return name_; }
  const std::string& key() const { return key_; }
  uint64_t offset() const { return offset_; }        // into the object
  uint64_t byte_size() const { return byte_size_; }  // > 0

  /// Copies bytes out of the region, or into it; offset: from the region's start.
  /// Errors: kOutOfRange beyond the region; kInvalidArgument if the object has become smaller;
  /// kResourceExhausted (Write; no memory for it). Threads: any.
  Status Read(uint64_t offset, std::span<std::byte> bytes) const;
  Status Write(uint64_t offset, std::span<const std::byte> bytes) const;

 private:
  friend class RegionRegistry;
  SharedMemoryRegion(std::string_view name, std::string_view key, uint64_t offset,
                     uint64_t byte_size)
      : name_(name), key_(key), offset_(offset), byte_size_(byte_size) {}
  Status CheckRange(uint64_t offset, uint64_t bytes) const;
  /// Errors: kInvalidArgument if the object has less than offset + byte_size bytes.
  Status CheckSize() const;

  std::string name_;
  std::string key_;
  uint64_t offset_;
  uint64_t byte_size_;
  int descriptor_ = -1;
};

struct SharedMemoryOptions {
  /// Off by default: a client that may register regions can read and write all shared memory
  /// objects of the user that the server runs as.
  bool allowed = false;
  size_t max_regions = 256;                         // each holds a file descriptor
  uint64_t max_region_bytes = uint64_t{256} << 20;  // also the most that one tensor may take
};

/// The regions that clients have registered, by name. Threads: any.
class RegionRegistry {
 public:
  explicit RegionRegistry(const SharedMemoryOptions& options) : options_(options) {}

  bool allowed() const { return options_.allowed; }

  /// Opens the shared memory object `key` (as in shm_open) and keeps `byte_size` bytes of it, from
  /// `offset` on, as `name`.
  /// Errors: kPermissionDenied (shared memory is not allowed, or not to the server's user);
  /// kInvalidArgument (name, key, a range that the object does not have); kNotFound (no such
  /// object); kAlreadyExists (the name is taken); kResourceExhausted (too many, no descriptor).
  Status Register(std::string_view name, std::string_view key, uint64_t offset, uint64_t byte_size);

  /// Requests that use the region end undisturbed. A name that is not registered is no error, as
  /// with Triton.
  void Unregister(std::string_view name);
  void UnregisterAll();

  /// Errors: kPermissionDenied (shared memory is not allowed), kNotFound.
  Result<std::shared_ptr<const SharedMemoryRegion>> Find(std::string_view name) const;

  /// By name.
  std::vector<std::shared_ptr<const SharedMemoryRegion>> All() const;

 private:
  Status CheckAllowed() const;

  const SharedMemoryOptions options_;
  mutable std::mutex mutex_;  // guards regions_
  std::map<std::string, std::shared_ptr<const SharedMemoryRegion>, std::less<>> regions_;
};

}  // namespace verdict
