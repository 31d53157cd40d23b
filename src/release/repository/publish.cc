#include "release/repository/publish.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/unix_time.h"
#include "engine/engine_file.h"
#include "release/repository/manifest.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxTries = 1000;  // each lost to another writer

Status WriteError(const fs::path& path, const char* what, int error) {
  return Unavailable(path.string() + ": " + what + ": " + std::strerror(error));
}

Status WriteText(const fs::path& path, std::string_view text) {
  const std::array<std::span<const std::byte>, 1> parts{std::as_bytes(std::span(text))};
  return WriteFileAtomically(path, parts);
}

Status SyncFolder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return WriteError(folder, "cannot open the folder", errno);
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Some network file systems cannot sync folders, and need not.
  if (failed != 0 && failed != EINVAL) return WriteError(folder, "cannot sync", failed);
  return OkStatus();
}

std::string TimeText(int64_t seconds) {
  const time_t time = seconds;
  struct tm utc {};
  ::gmtime_r(&time, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

/// One more than the highest version, whatever is in its folder.
Result<int64_t> NextVersion(const fs::path& model) {
  std::error_code error;
  int64_t highest = 0;
  for (fs::directory_iterator it(model, error), end; !error && it != end; it.increment(error)) {
    const auto version = ParseVersion(it->path().filename().string());
    if (version.ok()) highest = std::max(highest, *version);
  }
  if (error) return Unavailable(model.string() + ": cannot list the folder: " + error.message());
  if (highest == INT64_MAX) return OutOfRange(model.string() + ": there is no higher version");
  return highest + 1;
}

/// Renames a folder to a name that is free. Returns: false if it is not.
Result<bool> Take(const fs::path& from, const fs::path& to) {
  int error =
      ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
  if (error == EINVAL || error == ENOSYS) {
    // A file system without it: an empty folder is the claim, and a rename may replace it.
    error = ::mkdir(to.c_str(), 0777) == 0 ? 0 : errno;
    if (error == 0 && ::rename(from.c_str(), to.c_str()) != 0) {
      error = errno;
      ::rmdir(to.c_str());
    }
  }
  if (error == EEXIST || error == ENOTEMPTY) return false;
  if (error != 0) return WriteError(to, "cannot be put into place", error);
  return true;
}

/// A hidden folder beside the versions; removed with what is in it unless it was renamed.
class UnfinishedFolder {
 public:
  static Result<UnfinishedFolder> Make(const fs::path& model) {
    std::string name = (model / (std::string(kUnfinishedPrefix) + "XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr) return WriteError(model, "cannot be written to", errno);
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::chmod(name.c_str(), 0777 & ~mask);  // servers may run as other users
    return UnfinishedFolder(name);
  }
  UnfinishedFolder(UnfinishedFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  UnfinishedFolder& operator=(UnfinishedFolder&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~UnfinishedFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  const fs::path& path() const { return path_; }
  void Release() { path_.clear(); }

 private:
  explicit UnfinishedFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

Status WriteManifest(const fs::path& folder, const Manifest& manifest,
                     const std::optional<SigningKey>& key) {
  const std::string text = ManifestText(manifest);
  VERDICT_RETURN_IF_ERROR(ParseManifest(text).status());  // as a server will
  VERDICT_RETURN_IF_ERROR(WriteText(folder / kManifestFileName, text));
  if (key.has_value()) {
    VERDICT_RETURN_IF_ERROR(WriteText(folder / kSignatureFileName, key->Sign(text)));
  }
  return SyncFolder(folder);
}

}  // namespace

Result<int64_t> Publish(const Publication& publication) {
  VERDICT_RETURN_IF_ERROR(CheckModelName(publication.model));
  Manifest manifest;
  VERDICT_ASSIGN_OR_RETURN(manifest.metadata, CheckMetadata(publication.metadata));
  std::error_code error;
  if (!fs::is_directory(publication.repository, error)) {
    return NotFound(publication.repository.string() + ": there is no such folder; make it first");
  }
  const fs::path model = publication.repository / publication.model;
  if (::mkdir(model.c_str(), 0777) != 0 && errno != EEXIST) {
    return WriteError(model, "cannot make the folder", errno);
  }
  VERDICT_ASSIGN_OR_RETURN(UnfinishedFolder folder, UnfinishedFolder::Make(model));
  {
    VERDICT_ASSIGN_OR_RETURN(const auto engine, FileCopy::Read(publication.engine));
    const auto contents = ParseEngine(engine->bytes(), engine, publication.engine.string());
    VERDICT_RETURN_IF_ERROR(contents.status());
    const std::array<std::span<const std::byte>, 1> parts{engine->bytes()};
    VERDICT_RETURN_IF_ERROR(WriteFileAtomically(folder.path() / kEngineFileName, parts));
  }
  VERDICT_ASSIGN_OR_RETURN(manifest.files,
                           DescribeFiles(folder.path(), {std::string(kEngineFileName)}));
  manifest.model = publication.model;
  manifest.created = TimeText(UnixTime());
  manifest.tool = publication.tool;
  for (int tries = 0; tries < kMaxTries; ++tries) {
    manifest.version = publication.version;
    if (manifest.version == 0) {
      VERDICT_ASSIGN_OR_RETURN(manifest.version, NextVersion(model));
    }
    const fs::path place = model / std::to_string(manifest.version);
    VERDICT_RETURN_IF_ERROR(WriteManifest(folder.path(), manifest, publication.key));
    VERDICT_ASSIGN_OR_RETURN(const bool taken, Take(folder.path(), place));
    if (taken) {
      folder.Release();
      VERDICT_RETURN_IF_ERROR(SyncFolder(model));
      VERDICT_RETURN_IF_ERROR(SyncFolder(publication.repository));
      return manifest.version;
    }
    if (publication.version != 0) {
      return Status(StatusCode::kAlreadyExists,
                    place.string() +
                        ": is there already, and versions never change; leave "
                        "--version out for the next free one");
    }
  }
  return Unavailable(model.string() + ": other writers took every version; try again");
}

}  // namespace verdict
