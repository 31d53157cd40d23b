#include "runtime/device_worker/shared_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace verdict {
namespace {

constexpr int kSizeSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;

Status NoMemory(size_t bytes) {
  return ResourceExhausted(
      "cannot get " + std::to_string(bytes) +
      " bytes of memory to share with the device worker: " + std::strerror(errno));
}

}  // namespace

SharedPages::~SharedPages() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<std::pair<SharedPages, Descriptor>> SharedPages::Create(size_t bytes) {
  Descriptor file(::memfd_create("verdict-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.open() || ::ftruncate(file.number(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(file.number(), F_ADD_SEALS, kSizeSeals) != 0) {
    return NoMemory(bytes);
  }
  VERDICT_ASSIGN_OR_RETURN(SharedPages pages, Map(file, bytes));
  return std::pair(std::move(pages), std::move(file));
}

Result<SharedPages> SharedPages::Map(const Descriptor& file, size_t bytes) {
  struct stat status {};
  const int seals = ::fcntl(file.number(), F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals || ::fstat(file.number(), &status) != 0 ||
      static_cast<size_t>(status.st_size) != bytes || bytes == 0) {
    return DataLoss("what was to be shared with the device worker is no memory file of " +
                    std::to_string(bytes) + " bytes");
  }
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.number(), 0);
  if (data == MAP_FAILED) return NoMemory(bytes);
  return SharedPages(static_cast<std::byte*>(data), bytes);
}

}  // namespace verdict
