#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compile/compile.h"
#include "onnx/import.h"
#include "quant/precision.h"
#include "quant/thresholds.h"
#include "release/gates/precision_report.h"
#include "tools/calibration_data.h"
#include "tools/speed_comparison.h"

namespace verdict {

struct PrecisionOptions {
  /// What layers may compute in beside float32.
  std::vector<Precision> allowed;
  /// Samples (.npz, .csv, .jsonl), or a calibration cache: it begins as TensorRT's do. May be empty
  /// if int8 is not allowed; then what overflows float16 is found by its weights alone.
  std::filesystem::path calibration;
  CalibrationDataOptions data;
  /// Labelled samples that the model is held to; empty: those of the calibration. `data` is of
  /// these too; a file of labels is for these alone.
  std::filesystem::path evaluation;
  Observer observer = Observer::kAuto;
  /// Where the scales go; empty: nowhere.
  std::filesystem::path cache;
  /// With labels: what may be lost of the ROC-AUC.
  double max_auc_drop = 0.001;
  std::string score;  // output; empty: see FindScore
  /// Float32 where nothing else passes, instead of an error.
  bool best = false;
  /// What is allowed also where it is not faster than float32.
  bool obey = false;
};

/// What came of one precision.
struct PrecisionAttempt {
  std::string name;  // "int8", "int8+bfloat16"
  /// Where there are labels.
  std::optional<PrecisionReport> report;
  /// Float32 and this.
  std::vector<SpeedComparison> speeds;
  std::string why_not;  // there is no engine of it; empty if there is
};

struct PrecisionBuild {
  /// Why there is no engine; empty if there is one.
  std::string refusal;
  CompileResult compiled;
  /// Index of what the engine computes in, in `attempts`; nothing: float32.
  std::optional<size_t> chosen;
  std::string why_float;  // where it is float32
  /// In the order of what was allowed; then what int8 leaves over in a half type, if both are.
  std::vector<PrecisionAttempt> attempts;
  /// For people: what was kept in float32 and why, what was not checked.
  std::vector<std::string> notes;
};

/// Which attempt an engine is made of.
struct PrecisionDecision {
  std::optional<size_t> attempt;  // nothing: float32
  std::string why_float;          // where it is float32
  bool passed = false;            // any attempt has an engine
};

/// Of the attempts that have an engine, the one that takes the least share of float32's time in the
/// mean over the shapes; none that is slower at any shape or was not timed, unless `obey`.
PrecisionDecision DecidePrecision(std::span<const PrecisionAttempt> attempts, bool obey);

/// Compiles a model in each allowed precision, with those layers in it that keep the ROC-AUC, and
/// takes the fastest on this machine, unless float32 is faster. path: of the ONNX file. Errors: as
/// CompileImported, OpenCalibrationData, Calibrate and ReadCalibrationCache. Where no layer can
/// take a precision or the gate is not passed, and `best` is not set, that is the refusal beside
/// what was found.
Result<PrecisionBuild> BuildPrecision(const ImportedModel& model, const std::filesystem::path& path,
                                      const CompileOptions& compile,
                                      const PrecisionOptions& options);

}  // namespace verdict
