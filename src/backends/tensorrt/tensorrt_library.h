#pragma once

#include <NvInfer.h>

#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "base/status.h"

namespace verdict::tensorrt {

inline constexpr int kTensorRtMajor = NV_TENSORRT_MAJOR;
inline constexpr int kTensorRtMinor = NV_TENSORRT_MINOR;
/// 805 is 8.5: what these headers are of.
inline constexpr int kHeaderVersion = NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR;

struct TensorRtVersion {
  int major = 0, minor = 0, patch = 0;
  std::string text() const;  // "8.5.3"
};

/// From getInferLibVersion's number: 8503 is 8.5.3, from TensorRT 10 on 100001 is 10.0.1.
TensorRtVersion VersionFromNumber(int32_t number);

/// OK, or kUnavailable with what to install: a library's tables of functions fit headers of the
/// same major and minor version alone.
Status CheckVersion(const TensorRtVersion& library);

/// Passes TensorRT's messages on, and keeps its last errors for the status of the call that failed.
/// Threads: any.
class Logger final : public nvinfer1::ILogger {
 public:
  explicit Logger(std::function<void(const std::string&)> log) : log_(std::move(log)) {}
  void log(Severity severity, const char* message) noexcept override;

  /// The errors since the last call, joined; "no message of TensorRT" where there are none.
  std::string TakeErrors();
  /// For the time of a build: where its messages go besides. Empty: nowhere.
  void SetBuildLog(std::function<void(const std::string&)> log);

 private:
  std::mutex mutex_;
  std::function<void(const std::string&)> log_, build_log_;
  std::deque<std::string> errors_;
};

/// libnvinfer, opened at run time: nothing links it.
class TensorRtLibrary {
 public:
  /// Opens it once a process; stays open. Errors: kUnavailable with what to install.
  static Result<const TensorRtLibrary*> Open();

  const TensorRtVersion& version() const { return version_; }
  /// Null where TensorRT refuses; its logger knows why.
  nvinfer1::IBuilder* NewBuilder(Logger& logger) const;
  nvinfer1::IRuntime* NewRuntime(Logger& logger) const;
  nvinfer1::IRefitter* NewRefitter(nvinfer1::ICudaEngine& engine, Logger& logger) const;

 private:
  using Create = void* (*)(void* logger, int32_t version);
  using CreateRefitter = void* (*)(void* engine, void* logger, int32_t version);
  Create builder_ = nullptr, runtime_ = nullptr;
  CreateRefitter refitter_ = nullptr;
  TensorRtVersion version_;
};

/// Status of a call of TensorRT that failed: its own words, and kResourceExhausted where they speak
/// of memory. Takes the logger's errors.
Status TensorRtError(const std::string& what, Logger& logger);

}  // namespace verdict::tensorrt
