#include "backends/device/device_plugin.h"

namespace verdict {

#define VERDICT_TEXT_OF(x) #x
#define VERDICT_TEXT(x) VERDICT_TEXT_OF(x)

// A file of its own: plugins are compiled with it, and need nothing else of this folder.
std::string DeviceBuildId() {
#ifdef __clang__
  std::string id = "clang " __clang_version__;
#else
  std::string id = "gcc " __VERSION__;
#endif
#ifdef _GLIBCXX_RELEASE
  id += ", libstdc++ " VERDICT_TEXT(_GLIBCXX_RELEASE) " cxx11-abi "  //
      VERDICT_TEXT(_GLIBCXX_USE_CXX11_ABI);
#endif
  return id + ", C++ " VERDICT_TEXT(__cplusplus);
}

}  // namespace verdict
