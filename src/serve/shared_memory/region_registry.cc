#include "serve/shared_memory/region_registry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

constexpr size_t kMaxNameBytes = 256;

bool HasControlCharacter(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

/// The object's name as shm_open wants it, "/name". Errors: kInvalidArgument.
Result<std::string> ObjectName(std::string_view key) {
  std::string_view name = key;
  while (name.starts_with('/')) name.remove_prefix(1);
  if (name.empty() || name == "." || name == ".." || name.size() >= NAME_MAX ||
      name.find('/') != std::string_view::npos || HasControlCharacter(name)) {
    return InvalidArgument("key " + Quoted(key) +
                           " is no name of a shared memory object: it must be up to 254 printable "
                           "characters without '/', apart from one in front");
  }
  if (name.starts_with("sem.")) {
    return InvalidArgument("key " + Quoted(key) + " names a semaphore, not shared memory");
  }
  return "/" + std::string(name);
}

Status OpenError(std::string_view key, int error) {
  const std::string message =
      "shared memory object " + Quoted(key) + " cannot be opened: " + std::strerror(error);
  switch (error) {
    case ENOENT:
      return NotFound(message);
    case EACCES:
      return Status(StatusCode::kPermissionDenied,
                    message + "; the server's user must be allowed to read and write it");
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return ResourceExhausted(message);
    default:
      return InvalidArgument(message);
  }
}

}  // namespace

SharedMemoryRegion::~SharedMemoryRegion() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status SharedMemoryRegion::CheckRange(uint64_t offset, uint64_t bytes) const {
  if (offset <= byte_size_ && bytes <= byte_size_ - offset) return OkStatus();
  return OutOfRange("shared memory region " + Quoted(name_) + " has " + std::to_string(byte_size_) +
                    " bytes; " + std::to_string(bytes) + " bytes from " + std::to_string(offset) +
                    " on are not in it");
}

Status SharedMemoryRegion::CheckSize() const {
  struct stat object {};
  if (::fstat(descriptor_, &object) != 0 || !S_ISREG(object.st_mode)) {
    return InvalidArgument("key " + Quoted(key_) + " is no shared memory object");
  }
  const auto size = static_cast<uint64_t>(object.st_size);
  if (offset_ <= size && byte_size_ <= size - offset_) return OkStatus();
  return InvalidArgument("shared memory object " + Quoted(key_) + " has " + std::to_string(size) +
                         " bytes; region " + Quoted(name_) + " needs " +
                         std::to_string(byte_size_) + " bytes from " + std::to_string(offset_) +
                         " on");
}

Status SharedMemoryRegion::Read(uint64_t offset, std::span<std::byte> bytes) const {
  VERDICT_RETURN_IF_ERROR(CheckRange(offset, bytes.size()));
  while (!bytes.empty()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset_ + offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return InvalidArgument("shared memory region " + Quoted(name_) +
                             " cannot be read: " + std::strerror(errno));
    }
    if (got == 0) {
      VERDICT_RETURN_IF_ERROR(CheckSize());
      return InvalidArgument("shared memory region " + Quoted(name_) + " changes its size");
    }
    offset += static_cast<uint64_t>(got);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return OkStatus();
}

Status SharedMemoryRegion::Write(uint64_t offset, std::span<const std::byte> bytes) const {
  VERDICT_RETURN_IF_ERROR(CheckRange(offset, bytes.size()));
  // Writing would make an object that was shrunk longer again: its owner would not see that.
  VERDICT_RETURN_IF_ERROR(CheckSize());
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset_ + offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      return ResourceExhausted("shared memory region " + Quoted(name_) +
                               " cannot be written: " + std::strerror(errno));
    }
    offset += static_cast<uint64_t>(put);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return OkStatus();
}

Status RegionRegistry::CheckAllowed() const {
  if (options_.allowed) return OkStatus();
  return Status(
      StatusCode::kPermissionDenied,
      "shared memory is not allowed on this server; set shared_memory.allow in its "
      "configuration if all of its clients may read and write the shared memory of its user");
}

Status RegionRegistry::Register(std::string_view name, std::string_view key, uint64_t offset,
                                uint64_t byte_size) {
  VERDICT_RETURN_IF_ERROR(CheckAllowed());
  if (name.empty() || name.size() > kMaxNameBytes || HasControlCharacter(name)) {
    return InvalidArgument("a region's name must be 1 to " + std::to_string(kMaxNameBytes) +
                           " printable bytes");
  }
  if (byte_size == 0) return InvalidArgument("byte_size must be at least 1");
  if (byte_size > options_.max_region_bytes) {
    return InvalidArgument("byte_size is " + std::to_string(byte_size) + ", a region may have " +
                           std::to_string(options_.max_region_bytes));
  }
  if (offset > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - byte_size) {
    return InvalidArgument("offset is larger than any object");
  }
  VERDICT_ASSIGN_OR_RETURN(const std::string object, ObjectName(key));
  std::shared_ptr<SharedMemoryRegion> region(new SharedMemoryRegion(name, key, offset, byte_size));
  region->descriptor_ = ::shm_open(object.c_str(), O_RDWR, 0);
  if (region->descriptor_ < 0) return OpenError(key, errno);
  VERDICT_RETURN_IF_ERROR(region->CheckSize());

  std::lock_guard lock(mutex_);
  if (regions_.find(name) != regions_.end()) {
    return AlreadyExists("shared memory region " + Quoted(name) +
                         " is registered already; unregister it first");
  }
  if (regions_.size() >= options_.max_regions) {
    return ResourceExhausted(std::to_string(regions_.size()) +
                             " shared memory regions are registered, which is the most; unregister "
                             "what is not used");
  }
  regions_.emplace(name, std::move(region));
  return OkStatus();
}

void RegionRegistry::Unregister(std::string_view name) {
  std::shared_ptr<const SharedMemoryRegion> last;  // closed after the lock
  std::lock_guard lock(mutex_);
  const auto found = regions_.find(name);
  if (found == regions_.end()) return;
  last = std::move(found->second);
  regions_.erase(found);
}

void RegionRegistry::UnregisterAll() {
  std::lock_guard lock(mutex_);
  regions_.clear();
}

Result<std::shared_ptr<const SharedMemoryRegion>> RegionRegistry::Find(
    std::string_view name) const {
  VERDICT_RETURN_IF_ERROR(CheckAllowed());
  std::lock_guard lock(mutex_);
  const auto found = regions_.find(name);
  if (found != regions_.end()) return found->second;
  return NotFound("shared memory region " + Quoted(name) +
                  " is not registered; register it under that name first");
}

std::vector<std::shared_ptr<const SharedMemoryRegion>> RegionRegistry::All() const {
  std::vector<std::shared_ptr<const SharedMemoryRegion>> all;
  std::lock_guard lock(mutex_);
  for (const auto& [name, region] : regions_) all.push_back(region);
  return all;
}

}  // namespace verdict
