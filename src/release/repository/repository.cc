#include "release/repository/repository.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "release/repository/manifest.h"
#include "release/repository/model_config.h"
#include "release/repository/signature.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

/// The entries of a folder in order of name. Errors: kUnavailable.
Result<std::vector<fs::path>> Entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  if (error) return Unavailable(folder.string() + ": cannot list the folder: " + error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// Zero if there is no regular file.
FileStamp StampOf(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  return {info.st_ino, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
          static_cast<uint64_t>(info.st_size)};
}

bool IsHidden(const fs::path& path) { return path.filename().string().front() == '.'; }

/// The versions and the configuration of the model in `folder`; what is wrong with others goes to
/// *ignored. The versions may be none.
Result<ModelFolder> ReadModelFolder(const fs::path& folder, bool needs_manifest,
                                    std::vector<std::string>* ignored) {
  VERDICT_ASSIGN_OR_RETURN(std::vector<fs::path> entries, Entries(folder));
  ModelFolder model;
  model.name = folder.filename().string();
  model.config = folder / kModelConfigFileName;
  model.config_stamp = StampOf(model.config);
  for (const fs::path& entry : entries) {
    std::error_code error;
    if (IsHidden(entry) || !fs::is_directory(entry, error)) continue;
    auto version = ParseVersion(entry.filename().string());
    if (!version.ok()) {
      ignored->push_back(entry.string() + ": " + version.status().message());
      continue;
    }
    fs::path engine = entry / kEngineFileName;
    const VersionStamp stamp{StampOf(engine), StampOf(entry / kManifestFileName),
                             StampOf(entry / kSignatureFileName)};
    if (stamp.engine == FileStamp{}) {
      const bool has_onnx = fs::exists(entry / "model.onnx", error);
      ignored->push_back(entry.string() + ": no " + std::string(kEngineFileName) +
                         (has_onnx ? " in it, but a model.onnx: make one of it by `verdict build`"
                                   : " in it (is it still being written?)"));
      continue;
    }
    if (needs_manifest && stamp.manifest == FileStamp{}) {
      ignored->push_back(entry.string() + ": no " + std::string(kManifestFileName) +
                         " in it, which this server asks for (is it still being written?); publish "
                         "it by `verdict repository publish`");
      continue;
    }
    model.versions.push_back({*version, std::move(engine), stamp});
  }
  std::sort(model.versions.begin(), model.versions.end(),
            [](const VersionFile& a, const VersionFile& b) { return a.version < b.version; });
  return model;
}

}  // namespace

Status CheckModelName(std::string_view name) {
  if (name.empty()) return InvalidArgument("a model's name must not be empty");
  if (name.size() > kMaxModelNameBytes) {
    return InvalidArgument("a model's name must not be longer than " +
                           std::to_string(kMaxModelNameBytes) + " bytes");
  }
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!std::all_of(name.begin(), name.end(), allowed) || name.front() == '.' ||
      name.front() == '-') {
    return InvalidArgument(
        "a model's name is made of letters, digits, '.', '_' and '-', and begins with neither '.' "
        "nor '-'");
  }
  return OkStatus();
}

Result<int64_t> ParseVersion(std::string_view text) {
  int64_t version = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, version);
  if (error != std::errc() || stop != end || version <= 0 || text.front() == '0') {
    return InvalidArgument("'" + std::string(text.substr(0, 32)) +
                           "' is not a version: versions are whole numbers from 1 up, without "
                           "leading zeros");
  }
  return version;
}

Result<RepositoryListing> ListRepository(const fs::path& root, bool needs_manifest) {
  std::error_code error;
  const fs::file_status status = fs::status(root, error);
  if (!fs::exists(status)) {
    return NotFound(root.string() + ": there is no such folder; it should hold " +
                    "<model>/<version>/" + std::string(kEngineFileName));
  }
  if (!fs::is_directory(status)) {
    return InvalidArgument(root.string() + ": not a folder; it should hold <model>/<version>/" +
                           std::string(kEngineFileName));
  }
  VERDICT_ASSIGN_OR_RETURN(std::vector<fs::path> entries, Entries(root));
  RepositoryListing listing;
  for (const fs::path& entry : entries) {
    if (IsHidden(entry) || !fs::is_directory(entry, error)) continue;
    const std::string name = entry.filename().string();
    if (Status status = CheckModelName(name); !status.ok()) {
      listing.ignored.push_back(entry.string() + ": " + status.message());
      continue;
    }
    auto model = ReadModelFolder(entry, needs_manifest, &listing.ignored);
    if (!model.ok()) {
      listing.unreadable.push_back(name);
      listing.ignored.push_back(model.status().message());
      continue;
    }
    if (model->versions.empty()) {
      listing.ignored.push_back(entry.string() + ": no version in it");
      continue;
    }
    listing.models.push_back(*std::move(model));
  }
  return listing;
}

Result<ModelFolder> ListModel(const fs::path& root, std::string_view name, bool needs_manifest) {
  VERDICT_RETURN_IF_ERROR(CheckModelName(name));
  const fs::path folder = root / name;
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return NotFound("there is no model '" + std::string(name) + "' in the repository");
  }
  std::vector<std::string> ignored;
  VERDICT_ASSIGN_OR_RETURN(ModelFolder model, ReadModelFolder(folder, needs_manifest, &ignored));
  if (model.versions.empty()) {
    return NotFound("model '" + std::string(name) + "' has no <version>/" +
                    std::string(kEngineFileName) + " in the repository");
  }
  return model;
}

}  // namespace verdict
