#include "backends/device/device_plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace verdict {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameLength = 64;

/// Names become part of a path, so that nothing but letters, digits and '_' gets through.
bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string HowToBuild(const std::string& backend) {
  if (backend != "tensorrt")
    return "; known is 'tensorrt'; another needs a plugin of its name there";
  return "; with the headers of TensorRT's SDK it is built by cmake --preset cuda "
         "-DTENSORRT_ROOT=DIR && cmake --build --preset cuda, into build-cuda: put it beside the "
         "program, or into a folder that VERDICT_PLUGIN_PATH names (docs/guides/tensorrt.md)";
}

std::string DlError() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown error";
}

/// Handles are never closed: objects and threads of the library may outlive whoever asked for it.
Result<const DevicePlugin*> LoadPlugin(const fs::path& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Unavailable("plugin '" + path.string() + "' does not load: " + DlError() +
                       "; install what it needs, or build it again on this machine");
  }
  auto* function = reinterpret_cast<DevicePluginFunction>(dlsym(library, kDevicePluginSymbol));
  if (function == nullptr) {
    return Unavailable("'" + path.string() + "' is no plugin: it has no symbol '" +
                       kDevicePluginSymbol + "'; put another file there");
  }
  const DevicePlugin* plugin = function();
  if (plugin == nullptr) {
    return Unavailable("plugin '" + path.string() + "' offers nothing; build it again");
  }
  if (plugin->abi_version != kDeviceAbiVersion) {
    return Unavailable("plugin '" + path.string() + "' has ABI version " +
                       std::to_string(plugin->abi_version) + ", this program needs " +
                       std::to_string(kDeviceAbiVersion) +
                       "; use the plugin of the same release, or build both again");
  }
  const std::string build = plugin->build_id != nullptr ? plugin->build_id : "nothing";
  if (build != DeviceBuildId()) {
    return Unavailable("plugin '" + path.string() + "' was built with " + build +
                       ", this program with " + DeviceBuildId() + "; build both with one compiler");
  }
  return plugin;
}

}  // namespace

std::vector<fs::path> PluginFolders(const std::string& folder) {
  if (!folder.empty()) return {folder};
  std::vector<fs::path> folders;
  if (const char* variable = std::getenv("VERDICT_PLUGIN_PATH"); variable != nullptr) {
    std::string_view rest = variable;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) folders.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    folders.push_back(program.parent_path());
    folders.push_back(program.parent_path().parent_path() / "lib" / "verdict");
  }
  return folders;
}

Result<std::unique_ptr<Device>> OpenDevice(const std::string& backend, const std::string& folder,
                                           const DeviceOptions& options) {
  if (!IsName(backend)) {
    return InvalidArgument(
        "a backend is named by letters a to z, digits and '_', for example "
        "'tensorrt'");
  }
  const std::string file = "libverdict_" + backend + ".so";
  std::string searched;
  for (const fs::path& candidate : PluginFolders(folder)) {
    std::error_code error;
    if (!fs::exists(candidate / file, error)) {
      searched += (searched.empty() ? "" : ", ") + candidate.string();
      continue;
    }
    // An absolute path: a name without '/' would be looked for where libraries are.
    VERDICT_ASSIGN_OR_RETURN(const DevicePlugin* plugin,
                             LoadPlugin(fs::absolute(candidate, error) / file));
    auto device = plugin->open(options);
    if (!device.ok()) return device.status().WithContext("backend '" + backend + "'");
    return device;
  }
  return Unavailable("backend '" + backend + "': no " + file + " in " + searched +
                     HowToBuild(backend));
}

}  // namespace verdict
