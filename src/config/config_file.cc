#include "config/config_file.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "config/yaml_tree.h"

namespace verdict {

namespace fs = std::filesystem;

Result<std::string> ReadConfigFile(const fs::path& file) {
  const std::string name = file.string();
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (status.type() == fs::file_type::not_found)
    return NotFound(name + ": there is no such file; correct the path");
  if (error) return Unavailable(name + ": cannot be read: " + error.message());
  // A pipe or a device could keep us waiting for ever.
  if (status.type() != fs::file_type::regular) {
    return InvalidArgument(name + ": is no regular file; name the configuration file");
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(kMaxYamlBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream && !stream.eof()) {
    return Unavailable(name + ": cannot be read; check its permissions");
  }
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMaxYamlBytes) {
    return InvalidArgument(name + ": is larger than " + std::to_string(kMaxYamlBytes) +
                           " bytes; a configuration is not");
  }
  return text;
}

}  // namespace verdict
