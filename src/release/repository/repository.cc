#include "release/repository/repository.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

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

bool IsHidden(const fs::path& path) { return path.filename().string().front() == '.'; }

/// Adds the versions found in `folder` to *model, and what is wrong with the others to *ignored.
Status ListVersions(const fs::path& folder, ModelFolder* model, std::vector<std::string>* ignored) {
  VERDICT_ASSIGN_OR_RETURN(std::vector<fs::path> entries, Entries(folder));
  for (const fs::path& entry : entries) {
    std::error_code error;
    if (IsHidden(entry) || !fs::is_directory(entry, error)) continue;
    auto version = ParseVersion(entry.filename().string());
    if (!version.ok()) {
      ignored->push_back(entry.string() + ": " + version.status().message());
      continue;
    }
    fs::path engine = entry / kEngineFileName;
    if (!fs::is_regular_file(engine, error)) {
      ignored->push_back(entry.string() + ": no " + std::string(kEngineFileName) +
                         " in it (is it still being written?)");
      continue;
    }
    model->versions.push_back({*version, std::move(engine)});
  }
  std::sort(model->versions.begin(), model->versions.end(),
            [](const VersionFile& a, const VersionFile& b) { return a.version < b.version; });
  return OkStatus();
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

Result<RepositoryListing> ListRepository(const fs::path& root) {
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
    ModelFolder model;
    model.name = entry.filename().string();
    if (Status name = CheckModelName(model.name); !name.ok()) {
      listing.ignored.push_back(entry.string() + ": " + name.message());
      continue;
    }
    if (Status versions = ListVersions(entry, &model, &listing.ignored); !versions.ok()) {
      listing.ignored.push_back(versions.message());
      continue;
    }
    if (model.versions.empty()) {
      listing.ignored.push_back(entry.string() + ": no version in it");
      continue;
    }
    listing.models.push_back(std::move(model));
  }
  return listing;
}

}  // namespace verdict
