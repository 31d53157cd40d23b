#pragma once

#include <optional>
#include <string>
#include <vector>

#include "release/gates/score_comparison.h"

namespace verdict {

/// How one layer computes, and why.
struct LayerPrecision {
  std::string name;
  std::string op;
  std::string precision;  // "int8", "bfloat16", "float16" or "float32"
  std::string observer;   // that found the threshold; empty if it came with a cache
  double threshold = 0;   // beyond which its input is clipped; 0: nowhere
  /// What quantizing it alone costs of the ROC-AUC; empty where that was not asked.
  std::optional<double> auc_drop;
  std::string reason;  // why it keeps float32
};

/// What was measured before a model with less precision was let through, or not.
struct PrecisionReport {
  std::string model;
  std::string precision;  // "int8", "int8+bfloat16"
  bool passed = false;
  /// What the engine computes in, and why that is not `precision`; empty if it is.
  std::string engine;
  bool held_out = false;  // the rows are not those that calibration saw
  double max_auc_drop = 0;
  ScoreComparison scores;  // float32 is the baseline
  std::vector<LayerPrecision> layers;
};

std::string ToJson(const PrecisionReport& report);

/// For a terminal: ASCII, at most 100 columns, the verdict in the last line. Names stand as they
/// are: the caller makes them fit for a terminal.
std::string ToTable(const PrecisionReport& report);

/// One page that needs nothing else: the table, the scores of both against each other, their
/// histograms with the threshold, and what each layer costs.
std::string ToHtml(const PrecisionReport& report);

}  // namespace verdict
