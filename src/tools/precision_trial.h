#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/profile.h"
#include "quant/insert_quantization.h"
#include "quant/precision.h"
#include "quant/sample_axes.h"
#include "quant/sample_source.h"
#include "quant/thresholds.h"
#include "release/gates/precision_report.h"
#include "tools/score_reader.h"

namespace verdict {

/// A model whose layers are to compute in another precision, and what it is held to.
struct TrialModel {
  std::string name;
  Graph graph;  // in float32, after the passes
  std::vector<QuantizableLayer> layers;
  TensorRanges ranges;
  std::map<std::string, Observer, std::less<>> observers;
  SampleAxes axes;
  int64_t rows_at_once = 1;
  Profile profile;  // of samples
  /// Labelled samples; null: none.
  std::unique_ptr<SampleSource> source;
  ScoreOutput score;
  Scores baseline;  // of float32
  double baseline_auc = 0;
  bool held_out = false;  // the samples are not those of the calibration
  double max_auc_drop = 0;
};

/// By layer; nothing: float32.
using LayerPrecisions = std::vector<std::optional<Precision>>;

/// Which layers take a precision.
struct TrialResult {
  LayerPrecisions layers;
  bool passes = false;
  std::string why_not;  // where it does not pass
  /// Where there are labels.
  std::optional<PrecisionReport> report;
  std::vector<std::string> notes;
};

/// "0.001", "1.33"
std::string ShortNumber(double value);

/// The layers that hold the precision and keep the ROC-AUC: what overflows it stays in float32, and
/// of the others what SearchPrecision finds. Without labels, what does not overflow. Errors: as
/// InsertQuantization, InsertHalf and ReadScores.
Result<TrialResult> TryPrecision(TrialModel& model, Precision precision);

/// What int8 has left in float32 goes to a half type, where that holds it; the others stay int8.
/// Nothing if no layer does, or there are no labels to tell. Errors: as TryPrecision.
Result<std::optional<TrialResult>> TryHalfForTheRest(TrialModel& model, const TrialResult& int8,
                                                     Precision half);

/// Rewrites the model's graph, or the same one made anew.
Status ApplyPrecisions(const TrialModel& model, const LayerPrecisions& layers, Graph& graph);

}  // namespace verdict
