#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace verdict {

/// A whole file mapped read-only and privately. Immutable and shared between threads.
/// Another process that truncates the file under us makes later reads fault: writers must replace a
/// file by rename (WriteFileAtomically does), never in place.
class MappedFile {
 public:
  /// Errors: kNotFound, kInvalidArgument (not a regular file, or empty), kUnavailable (other I/O).
  static Result<std::shared_ptr<const MappedFile>> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  size_t size_;
};

/// A file, or its beginning, read into memory of its own that starts at a page and is never written
/// again: what happens to the file later does not matter. Immutable and shared between threads.
class FileCopy {
 public:
  /// max_bytes: what is beyond is not read.
  /// Errors: as MappedFile::Open; kResourceExhausted (no memory for it); kUnavailable also if the
  /// file became shorter meanwhile.
  static Result<std::shared_ptr<const FileCopy>> Read(const std::filesystem::path& path,
                                                      size_t max_bytes = SIZE_MAX);
  ~FileCopy();
  FileCopy(const FileCopy&) = delete;
  FileCopy& operator=(const FileCopy&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  FileCopy(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_;
  size_t size_;
};

/// A small file's contents, read (not mapped: whoever rewrites it in place does us no harm).
/// Errors: kNotFound, kInvalidArgument (not a regular file, or larger than max_bytes),
/// kUnavailable (not allowed, other I/O).
Result<std::string> ReadSmallFile(const std::filesystem::path& path, size_t max_bytes);

/// Writes `parts` one after another to a new file beside `path`, syncs it, and renames it to
/// `path`: readers see the old file or the whole new one. On error the old file is untouched. The
/// umask decides the new file's permissions. A pipe or device is written to as it is. Errors:
/// kNotFound (no such folder), kUnavailable.
Status WriteFileAtomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts);

}  // namespace verdict
