#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "compile/compile.h"
#include "onnx/import.h"
#include "tools/precision_build.h"

namespace verdict {

/// How a plan for a device is to be built.
struct DeviceBuildRequest {
  /// tf32, refittable, …; the precisions are in `precision.allowed`.
  DeviceBuildOptions build;
  /// Allowed precisions, samples, labels, gate. `cache` and `observer` are ours, for `is_explicit`.
  PrecisionOptions precision;
  /// Our own calibration in the graph, instead of the device's.
  bool is_explicit = false;
  /// The device's calibration cache goes here; empty: nowhere.
  std::filesystem::path save_cache;
  /// The device's timing cache, read and written; empty: none.
  std::filesystem::path timing_cache;
  /// Whether rows depend on each other, as tried with the CPU's plan.
  std::function<bool(const EngineContents&)> rows_independent;
  std::function<void(const std::string&)> log;  // --verbose lines; may be empty
};

struct DeviceBuild {
  CompileResult compiled;  // with the device's plan
  std::string precision;   // "int8 and float16"
  /// Of the precision that was taken or, where nothing passes, of the last; where there are labels.
  std::optional<PrecisionReport> report;
  std::string layers;              // the device's JSON of its layers
  std::vector<std::string> notes;  // for people
  std::string refusal;             // why there is no engine; empty if there is one
};

/// Compiles a model for the CPU, and for a device in the allowed precision. The scores of the
/// labelled samples on the device are held against float32's on the CPU; where they lose more of
/// the ROC-AUC than is allowed, or golden vectors come out wrong, the next wider precision is built
/// and a note says so. path: of the ONNX file. Errors: as CompileImported, BuildPrecision,
/// MakeDevicePlan, DeviceEngine::Load, OpenCalibrationData.
Result<DeviceBuild> BuildForDevice(const ImportedModel& model, const std::filesystem::path& path,
                                   const CompileOptions& compile, std::shared_ptr<Device> device,
                                   const DeviceBuildRequest& request);

}  // namespace verdict
