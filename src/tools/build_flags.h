#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compile/compile.h"
#include "tools/device_flags.h"
#include "tools/precision_build.h"

namespace verdict {

/// What `verdict build` is told.
struct BuildFlags {
  std::string onnx, engine;
  std::string shapes, min_shapes, opt_shapes, max_shapes;
  std::vector<std::string> disabled_passes;
  std::string backend;  // of ours, or a device's
  DeviceChoice device;  // where the backend is one
  DeviceBuildFlags device_build;
  std::string timing_cache;
  bool error_on_timing_cache_miss = false;
  bool int8 = false, bf16 = false, fp16 = false, best = false;
  std::string calibration, evaluation, labels, label_column, observer = "auto", calibration_cache,
                                                             score;
  std::string report;
  bool allow_nan = false;
  std::string precision_constraints = "none";
  double max_auc_drop = 0.001;
  bool verbose = false;

  bool for_device() const { return !device.backend.empty(); }
};

void AddBuildFlags(CLI::App& app, BuildFlags& flags);

/// To be called once they are parsed: tells devices from our own backends.
void ChooseBackend(BuildFlags& flags);

/// What the layers may compute in; empty: float32 alone.
std::vector<Precision> AllowedBy(const BuildFlags& flags);

/// What only says how to go below float32, or how a device builds, means nothing without doing so.
/// Errors: kInvalidArgument.
Status CheckTogether(const BuildFlags& flags);

/// As CheckTarget, against what is read and the targets before it.
Result<std::filesystem::path> CheckTargetOf(
    const BuildFlags& flags, const std::string& flag, const std::string& path,
    std::initializer_list<std::pair<std::string_view, std::filesystem::path>> targets = {});

/// Errors: as CheckTargetOf and ParseObserver.
Result<PrecisionOptions> PrecisionOptionsOf(const BuildFlags& flags);

/// Errors: as ParseShapes, CheckTarget and TimingCache::Load.
Result<CompileOptions> CompileOptionsOf(const BuildFlags& flags);

}  // namespace verdict
