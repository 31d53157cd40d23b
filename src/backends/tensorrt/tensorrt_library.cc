#include "backends/tensorrt/tensorrt_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace verdict::tensorrt {
namespace {

constexpr size_t kKeptErrors = 4;
constexpr size_t kMaxErrorBytes = 600;

std::string HeaderText() {
  return std::to_string(kTensorRtMajor) + "." + std::to_string(kTensorRtMinor);
}

std::string HowToInstall() {
  return "install TensorRT " + HeaderText() + " (libnvinfer.so." + std::to_string(kTensorRtMajor) +
         ") where the loader finds it, for example by LD_LIBRARY_PATH, or build this plugin with "
         "the "
         "headers of the version that is there";
}

}  // namespace

std::string TensorRtVersion::text() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

TensorRtVersion VersionFromNumber(int32_t number) {
  const int scale = number >= 100000 ? 10000 : 1000;
  return {number / scale, number % scale / 100, number % 100};
}

Status CheckVersion(const TensorRtVersion& library) {
  if (library.major == kTensorRtMajor && library.minor == kTensorRtMinor) return OkStatus();
  return Unavailable("the TensorRT library is of version " + library.text() +
                     ", this plugin was built for " + HeaderText() + "; " + HowToInstall());
}

void Logger::log(Severity severity, const char* message) noexcept {
  if (severity > Severity::kWARNING && severity != Severity::kINFO) return;
  // 8.5 warns of its own use of its old interface, for each tensor of each profile.
  if (std::string_view(message).find("getProfileDimensions: bindingIndex") !=
      std::string_view::npos) {
    return;
  }
  try {
    const std::string text(message,
                           std::min(std::char_traits<char>::length(message), kMaxErrorBytes));
    std::function<void(const std::string&)> log, build_log;
    {
      const std::lock_guard lock(mutex_);
      if (severity <= Severity::kERROR) {
        errors_.push_back(text);
        if (errors_.size() > kKeptErrors) errors_.pop_front();
      }
      if (severity <= Severity::kWARNING) log = log_;
      build_log = build_log_;
    }
    const char* kind = severity <= Severity::kERROR     ? "error: "
                       : severity == Severity::kWARNING ? "warning: "
                                                        : "";
    if (build_log) {
      build_log("TensorRT: " + std::string(kind) + text);
    } else if (log) {
      log("TensorRT: " + std::string(kind) + text);
    }
  } catch (...) {
    // A message that cannot be passed on is lost: TensorRT expects no exception here.
  }
}

std::string Logger::TakeErrors() {
  const std::lock_guard lock(mutex_);
  if (errors_.empty()) return "no message of TensorRT";
  std::string joined;
  for (const std::string& error : errors_) joined += (joined.empty() ? "" : "; ") + error;
  errors_.clear();
  return joined;
}

void Logger::SetBuildLog(std::function<void(const std::string&)> log) {
  const std::lock_guard lock(mutex_);
  build_log_ = std::move(log);
}

Result<const TensorRtLibrary*> TensorRtLibrary::Open() {
  static std::mutex mutex;
  static const TensorRtLibrary* opened = nullptr;
  const std::lock_guard lock(mutex);
  if (opened != nullptr) return opened;
  const std::string file = "libnvinfer.so." + std::to_string(kTensorRtMajor);
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return Unavailable(std::string("no TensorRT: ") + dlerror() + "; " + HowToInstall());
  }
  auto* version = reinterpret_cast<int32_t (*)()>(dlsym(handle, "getInferLibVersion"));
  TensorRtLibrary library;
  library.builder_ = reinterpret_cast<Create>(dlsym(handle, "createInferBuilder_INTERNAL"));
  library.runtime_ = reinterpret_cast<Create>(dlsym(handle, "createInferRuntime_INTERNAL"));
  library.refitter_ =
      reinterpret_cast<CreateRefitter>(dlsym(handle, "createInferRefitter_INTERNAL"));
  if (version == nullptr || library.builder_ == nullptr || library.runtime_ == nullptr ||
      library.refitter_ == nullptr) {
    return Unavailable(file + " is not TensorRT's library, or not a whole one; " + HowToInstall());
  }
  library.version_ = VersionFromNumber(version());
  VERDICT_RETURN_IF_ERROR(CheckVersion(library.version_));
  opened = new TensorRtLibrary(library);  // for ever, as the handle
  return opened;
}

nvinfer1::IBuilder* TensorRtLibrary::NewBuilder(Logger& logger) const {
  return static_cast<nvinfer1::IBuilder*>(
      builder_(static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION));
}

nvinfer1::IRuntime* TensorRtLibrary::NewRuntime(Logger& logger) const {
  return static_cast<nvinfer1::IRuntime*>(
      runtime_(static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION));
}

nvinfer1::IRefitter* TensorRtLibrary::NewRefitter(nvinfer1::ICudaEngine& engine,
                                                  Logger& logger) const {
  return static_cast<nvinfer1::IRefitter*>(
      refitter_(&engine, static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION));
}

Status TensorRtError(const std::string& what, Logger& logger) {
  const std::string errors = logger.TakeErrors();
  std::string lower = errors;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* word : {"out of memory", "outofmemory", "insufficient memory"}) {
    if (lower.find(word) != std::string::npos) {
      return ResourceExhausted(what + ": TensorRT: " + errors +
                               ": free device memory, or load less");
    }
  }
  return Internal(what + ": TensorRT: " + errors);
}

}  // namespace verdict::tensorrt
