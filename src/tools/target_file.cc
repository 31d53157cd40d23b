#include "tools/target_file.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as Linux

}  // namespace

Result<fs::path> CheckTarget(const std::string& flag, const fs::path& path,
                             const std::vector<std::pair<std::string_view, fs::path>>& sources) {
  const std::string context = flag + " " + path.string() + ": ";
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type == fs::file_type::directory) return InvalidArgument(context + "is a folder");
  // A pipe or device stays as it is: /dev/stdout's link is not the name of a file.
  const bool is_special = fs::exists(path, error) && type != fs::file_type::regular;
  if (is_special) return path;
  fs::path target = path;
  for (int links = 0; fs::is_symlink(target, error); ++links) {
    if (links == kMaxLinks) return InvalidArgument(context + "too many symlinks");
    target = target.parent_path() / fs::read_symlink(target, error);
  }
  const fs::path folder = target.has_parent_path() ? target.parent_path() : ".";
  if (!fs::is_directory(folder, error)) {
    return NotFound(context + "there is no folder " + folder.string());
  }
  for (const auto& [what, source] : sources) {
    if (source == target || fs::equivalent(source, target, error)) {
      return InvalidArgument(context + "would overwrite " + std::string(what));
    }
  }
  return target;
}

}  // namespace verdict
