#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compile/compile.h"
#include "onnx/import.h"
#include "quant/thresholds.h"
#include "release/gates/precision_report.h"
#include "tools/calibration_data.h"
#include "tools/speed_comparison.h"

namespace verdict {

struct Int8Options {
  /// Samples (.npz, .csv, .jsonl), or a calibration cache: it begins as TensorRT's do.
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
  /// Float32 where int8 does not pass, instead of an error.
  bool best = false;
  /// Int8 also where it is not faster.
  bool obey = false;
};

struct Int8Build {
  /// Why there is no engine; empty if there is one.
  std::string refusal;
  CompileResult compiled;
  bool in_float32 = false;  // the engine: int8 was not worth it
  /// Where there are labels.
  std::optional<PrecisionReport> report;
  /// Float32 and int8, for each golden vector.
  std::vector<SpeedComparison> speeds;
  /// For people: what was kept in float32 and why, what was not checked.
  std::vector<std::string> notes;
};

/// Compiles a model with the layers in int8 that keep its ROC-AUC, and of these only if that is
/// faster than float32 on this machine. path: of the ONNX file. Errors: as CompileImported,
/// OpenCalibrationData, Calibrate and ReadCalibrationCache. Where no layer can be quantized or
/// the gate is not passed, and `best` is not set, that is the refusal beside what was found.
Result<Int8Build> BuildInt8(const ImportedModel& model, const std::filesystem::path& path,
                            const CompileOptions& compile, const Int8Options& options);

}  // namespace verdict
