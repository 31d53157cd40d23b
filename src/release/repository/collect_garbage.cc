#include "release/repository/collect_garbage.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <system_error>

#include "release/repository/model_config.h"
#include "release/repository/publish.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

/// When anything in the folder was last written; `now` if that cannot be told.
int64_t LastWritten(const fs::path& folder, int64_t now) {
  const auto written = [now](const fs::path& path) -> int64_t {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 ? info.st_mtim.tv_sec : now;
  };
  int64_t last = written(folder);
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    last = std::max(last, written(it->path()));
  }
  return error ? now : last;
}

Status Remove(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return Unavailable(folder.string() + ": cannot be removed: " + error.message());
  return OkStatus();
}

Status Discard(const fs::path& version) {
  const fs::path hidden =
      version.parent_path() / (std::string(kDiscardedPrefix) + version.filename().string() + "-" +
                               std::to_string(::getpid()));
  std::error_code error;
  fs::rename(version, hidden, error);
  if (error) return Unavailable(version.string() + ": cannot be removed: " + error.message());
  return Remove(hidden);
}

/// Hidden folders of ours in which nothing has happened for a day.
std::vector<fs::path> Abandoned(const fs::path& model, int64_t now) {
  std::vector<fs::path> abandoned;
  std::error_code error;
  for (fs::directory_iterator it(model, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if ((name.starts_with(kUnfinishedPrefix) || name.starts_with(kDiscardedPrefix)) &&
        LastWritten(it->path(), now) + kAbandonedAfterS < now) {
      abandoned.push_back(it->path());
    }
  }
  std::sort(abandoned.begin(), abandoned.end());
  return abandoned;
}

/// The versions, newest first, whatever is in their folders.
std::vector<int64_t> Versions(const fs::path& model) {
  std::vector<int64_t> versions;
  std::error_code error;
  for (fs::directory_iterator it(model, error), end; !error && it != end; it.increment(error)) {
    const auto version = ParseVersion(it->path().filename().string());
    if (version.ok()) versions.push_back(*version);
  }
  std::sort(versions.begin(), versions.end(), std::greater<>());
  return versions;
}

std::vector<fs::path> OldVersions(const fs::path& model, const GarbageOptions& options) {
  const auto config = ReadModelConfig(model / kModelConfigFileName);
  if (!config.ok()) return {};
  size_t keep = options.keep;
  std::vector<int64_t> named;
  if (const auto& policy = config->version_policy) {
    if (policy->kind == VersionPolicy::Kind::kLatest) {
      keep = std::max<size_t>(keep, policy->num_versions);
    }
    named = policy->versions;
  }
  std::vector<fs::path> old;
  size_t good = 0;
  for (const int64_t version : Versions(model)) {
    const fs::path folder = model / std::to_string(version);
    if (good < keep) {
      std::error_code error;
      good += fs::is_regular_file(folder / kEngineFileName, error) &&
                      VerifyVersion(folder, options.trust).ok()
                  ? 1
                  : 0;
    } else if (!options.pinned.contains({model.filename().string(), version}) &&
               std::ranges::find(named, version) == named.end()) {
      old.push_back(folder);
    }
  }
  std::reverse(old.begin(), old.end());
  return old;
}

}  // namespace

Result<std::vector<fs::path>> CollectGarbage(const fs::path& root, const GarbageOptions& options) {
  if (options.keep == 0) return InvalidArgument("the newest version always stays; keep at least 1");
  VERDICT_RETURN_IF_ERROR(ListRepository(root).status());
  std::vector<fs::path> removed;
  std::error_code error;
  std::vector<fs::path> models;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error) && CheckModelName(it->path().filename().string()).ok()) {
      models.push_back(it->path());
    }
  }
  if (error) return Unavailable(root.string() + ": cannot list the folder: " + error.message());
  std::sort(models.begin(), models.end());
  for (const fs::path& model : models) {
    for (const fs::path& folder : OldVersions(model, options)) {
      if (!options.dry_run) VERDICT_RETURN_IF_ERROR(Discard(folder));
      removed.push_back(folder);
    }
    for (const fs::path& folder : Abandoned(model, options.now)) {
      if (!options.dry_run) VERDICT_RETURN_IF_ERROR(Remove(folder));
      removed.push_back(folder);
    }
  }
  return removed;
}

}  // namespace verdict
