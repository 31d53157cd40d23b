#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace verdict {
namespace {

Status IoError(const std::filesystem::path& path, const char* what, int error) {
  std::string message = path.string() + ": " + what + ": " + std::strerror(error);
  if (error == ENOENT || error == ENOTDIR) return NotFound(message + "; correct the path");
  if (error == EACCES) message += "; let the user that this runs as do so, or name another";
  return Unavailable(std::move(message));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct OpenedFile {
  FileDescriptor fd;
  size_t size;  // > 0
};

/// Opens a regular file that is not empty, to be read.
Result<OpenedFile> OpenToRead(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO must not hang; it is refused below.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return IoError(path, "cannot open", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return IoError(path, "cannot stat", errno);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path.string() + ": not a regular file");
  if (info.st_size == 0) return InvalidArgument(path.string() + ": the file is empty");
  return OpenedFile{std::move(fd), static_cast<size_t>(info.st_size)};
}

Status ReadAll(int fd, std::span<std::byte> bytes, const std::filesystem::path& path) {
  for (off_t offset = 0; !bytes.empty();) {
    const ssize_t read = ::pread(fd, bytes.data(), bytes.size(), offset);
    if (read < 0) {
      if (errno == EINTR) continue;
      return IoError(path, "cannot read", errno);
    }
    if (read == 0)
      return Unavailable(path.string() + ": the file became shorter while it was read");
    bytes = bytes.subspan(static_cast<size_t>(read));
    offset += read;
  }
  return OkStatus();
}

Status WriteAll(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return IoError(path, "cannot write", errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return OkStatus();
}

/// Into a pipe, terminal or other device, which must stay what it is.
Status WriteSpecialFile(const std::filesystem::path& path,
                        std::span<const std::span<const std::byte>> parts) {
  FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return IoError(path, "cannot open", errno);
  for (const auto& part : parts) VERDICT_RETURN_IF_ERROR(WriteAll(fd.get(), part, path));
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const OpenedFile file, OpenToRead(path));
  void* data = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (data == MAP_FAILED) return IoError(path, "cannot map", errno);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(static_cast<const std::byte*>(data), file.size));
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(data_), size_); }

Result<std::shared_ptr<const FileCopy>> FileCopy::Read(const std::filesystem::path& path,
                                                       size_t max_bytes) {
  VERDICT_ASSIGN_OR_RETURN(const OpenedFile file, OpenToRead(path));
  const size_t size = std::min(file.size, max_bytes);
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted(path.string() + ": no memory for its " + std::to_string(size) +
                             " bytes");
  }
  std::shared_ptr<const FileCopy> copy(new FileCopy(static_cast<std::byte*>(data), size));
  // Fewer misses in the address cache where weights are large. A wish: without it all works too.
  constexpr size_t kHugePage = size_t{2} << 20;
  if (size >= kHugePage) ::madvise(data, size, MADV_HUGEPAGE);
  VERDICT_RETURN_IF_ERROR(ReadAll(file.fd.get(), {copy->data_, size}, path));
  // A stray write of ours faults at once instead of changing scores.
  ::mprotect(data, size, PROT_READ);
  return copy;
}

FileCopy::~FileCopy() { ::munmap(data_, size_); }

Result<std::string> ReadSmallFile(const std::filesystem::path& path, size_t max_bytes) {
  // O_NONBLOCK: opening a FIFO must not hang; it is refused below.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return IoError(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return IoError(path, "cannot read", errno);
  if (!S_ISREG(status.st_mode)) return InvalidArgument(path.string() + ": not a regular file");
  std::string text;
  char buffer[16384];
  while (true) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof(buffer));
    if (count < 0) {
      if (errno == EINTR) continue;
      return IoError(path, "cannot read", errno);
    }
    if (count == 0) return text;
    if (text.size() + static_cast<size_t>(count) > max_bytes) {
      return InvalidArgument(path.string() + ": larger than the " + std::to_string(max_bytes) +
                             " bytes that are taken here");
    }
    text.append(buffer, static_cast<size_t>(count));
  }
}

Status WriteFileAtomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return WriteSpecialFile(path, parts);
  }
  // O_EXCL with the ordinary mode: the umask applies as to any new file. In containers process
  // numbers repeat, so a killed writer's leftover may have the first name tried.
  static std::atomic<uint64_t> counter{0};
  std::string temporary;
  int opened = -1;
  do {
    temporary = path.string() + ".tmp." + std::to_string(::getpid()) + "." +
                std::to_string(counter.fetch_add(1));
    opened = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (opened < 0 && errno == EEXIST);
  FileDescriptor fd(opened);
  if (fd.get() < 0) return IoError(path, "cannot create a file beside it", errno);
  Status status;
  for (const auto& part : parts) {
    status = WriteAll(fd.get(), part, path);
    if (!status.ok()) break;
  }
  if (status.ok() && ::fsync(fd.get()) != 0) status = IoError(path, "cannot sync", errno);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = IoError(path, "cannot rename into place", errno);
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

}  // namespace verdict
