#include "tools/precision_trial.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "quant/insert_half.h"
#include "release/gates/score_comparison.h"
#include "tools/precision_search.h"

namespace verdict {
namespace {

DataType HalfTypeOf(Precision precision) {
  return precision == Precision::kFloat16 ? DataType::kFloat16 : DataType::kBFloat16;
}

bool AreFinite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

std::string LayerName(const TrialModel& model, const QuantizableLayer& layer) {
  const Node& node = model.graph.nodes[static_cast<size_t>(layer.node)];
  return node.name.empty() ? model.graph.value(node.outputs[0]).name : node.name;
}

/// Why the layer cannot be in the precision whatever the accuracy; empty if it can.
std::string WhyNot(const TrialModel& model, const QuantizableLayer& layer, Precision precision) {
  if (precision == Precision::kInt8) return WhyNotInt8(model.graph, layer, model.ranges);
  float largest = 0;  // unknown
  if (layer.input != kNoValue) {
    const auto range = model.ranges.find(model.graph.value(layer.input).name);
    if (range != model.ranges.end()) {
      largest = range->second.largest;
    }
  }
  return WhyHalfOverflows(model.graph, layer, HalfTypeOf(precision), largest);
}

Result<Scores> ScoresIn(TrialModel& model, const LayerPrecisions& layers) {
  Graph graph = model.graph;
  VERDICT_RETURN_IF_ERROR(ApplyPrecisions(model, layers, graph));
  return ReadScores(graph, model.profile, model.axes, model.score, model.rows_at_once,
                    *model.source);
}

/// How much of the baseline's ROC-AUC is lost; all of it by scores that overflow.
Result<double> CostOf(const TrialModel& model, const Scores& scores) {
  if (!AreFinite(scores.values) && AreFinite(model.baseline.values)) return 1.0;
  VERDICT_ASSIGN_OR_RETURN(const double auc, RocAuc(scores.values, scores.labels));
  return model.baseline_auc - auc;
}

LayerPrecision Describe(const TrialModel& model, const QuantizableLayer& layer,
                        std::optional<Precision> precision) {
  LayerPrecision described{
      .name = LayerName(model, layer),
      .op = model.graph.nodes[static_cast<size_t>(layer.node)].op,
      .precision = precision ? std::string(PrecisionName(*precision)) : "float32"};
  if (layer.needs_range && precision == Precision::kInt8) {
    const std::string& tensor = model.graph.value(layer.input).name;
    const auto observer = model.observers.find(tensor);
    if (observer != model.observers.end()) described.observer = ObserverName(observer->second);
    described.threshold = static_cast<double>(model.ranges.at(tensor).threshold);
  }
  return described;
}

Result<PrecisionReport> ReportOf(const TrialModel& model, const std::string& name,
                                 const LayerPrecisions& layers, const Scores& scores, bool passes) {
  PrecisionReport report{.model = model.name,
                         .precision = name,
                         .passed = passes,
                         .held_out = model.held_out,
                         .max_auc_drop = model.max_auc_drop};
  VERDICT_ASSIGN_OR_RETURN(report.scores, CompareScores(model.baseline.values, scores.values,
                                                        model.baseline.labels, {}));
  for (size_t i = 0; i < layers.size(); ++i) {
    report.layers.push_back(Describe(model, model.layers[i], layers[i]));
  }
  return report;
}

/// Tries one precision.
class Trial {
 public:
  Trial(TrialModel& model, Precision precision) : model_(model), precision_(precision) {}

  Result<TrialResult> Run() {
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      reasons_.push_back(WhyNot(model_, model_.layers[i], precision_));
      if (reasons_.back().empty()) open_.push_back(i);
    }
    if (open_.empty()) {
      result_.why_not = "no layer can be in " + Name() + ": " + reasons_[0];
      return std::move(result_);
    }
    result_.layers = Without(std::vector<bool>(open_.size(), false));
    result_.passes = true;
    if (model_.source != nullptr) {
      VERDICT_RETURN_IF_ERROR(PassGate());
    } else {
      NoteKept();
    }
    return std::move(result_);
  }

 private:
  std::string Name() const { return std::string(PrecisionName(precision_)); }

  /// keep: of the open layers, which stay in float32.
  LayerPrecisions Without(const std::vector<bool>& keep) const {
    LayerPrecisions layers(model_.layers.size());
    for (size_t i = 0; i < open_.size(); ++i) {
      if (!keep[i]) layers[open_[i]] = precision_;
    }
    return layers;
  }

  void NoteKept() {
    for (size_t i = 0; i < reasons_.size(); ++i) {
      if (reasons_[i].empty()) continue;
      result_.notes.push_back(LayerName(model_, model_.layers[i]) +
                              " keeps float32: " + reasons_[i]);
    }
  }

  Status PassGate() {
    Scores last;
    LayerPrecisions last_layers;
    const auto cost_of = [&](const std::vector<bool>& keep) -> Result<double> {
      last_layers = Without(keep);
      VERDICT_ASSIGN_OR_RETURN(last, ScoresIn(model_, last_layers));
      return CostOf(model_, last);
    };
    VERDICT_ASSIGN_OR_RETURN(const PrecisionChoice choice,
                             SearchPrecision(open_.size(), model_.max_auc_drop, cost_of));
    result_.passes = choice.passes;
    // Where nothing passes, what all layers in this precision would have done is reported.
    result_.layers = Without(choice.passes ? choice.keep : std::vector<bool>(open_.size(), false));
    if (last_layers != result_.layers) {
      VERDICT_ASSIGN_OR_RETURN(last, ScoresIn(model_, result_.layers));
    }
    if (!choice.passes) {
      result_.why_not = "no layer can be in " + Name() + " for less than " +
                        ShortNumber(model_.max_auc_drop) + " of the ROC-AUC";
    }
    if (!AreFinite(last.values) && AreFinite(model_.baseline.values)) {
      result_.why_not += ": scores overflow";
      return OkStatus();
    }
    VERDICT_ASSIGN_OR_RETURN(PrecisionReport report,
                             ReportOf(model_, Name(), result_.layers, last, choice.passes));
    for (size_t i = 0; i < choice.costs.size(); ++i) {
      report.layers[open_[i]].auc_drop = choice.costs[i];
    }
    for (size_t i = 0; i < report.layers.size(); ++i) {
      report.layers[i].reason = reasons_[i];
      if (!result_.layers[i] && reasons_[i].empty()) {
        report.layers[i].reason = Name() + " costs too much of the ROC-AUC";
      }
    }
    result_.report = std::move(report);
    return OkStatus();
  }

  TrialModel& model_;
  Precision precision_;
  std::vector<size_t> open_;          // indices of layers that may take the precision
  std::vector<std::string> reasons_;  // by layer: why it may not
  TrialResult result_;
};

}  // namespace

std::string ShortNumber(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.3g", value);
  return text.data();
}

Result<TrialResult> TryPrecision(TrialModel& model, Precision precision) {
  return Trial(model, precision).Run();
}

Result<std::optional<TrialResult>> TryHalfForTheRest(TrialModel& model, const TrialResult& int8,
                                                     Precision half) {
  TrialResult result{.layers = int8.layers};
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (!result.layers[i] && WhyNot(model, model.layers[i], half).empty()) result.layers[i] = half;
  }
  if (model.source == nullptr || result.layers == int8.layers) return std::optional<TrialResult>();
  const std::string name = "int8+" + std::string(PrecisionName(half));
  VERDICT_ASSIGN_OR_RETURN(const Scores scores, ScoresIn(model, result.layers));
  VERDICT_ASSIGN_OR_RETURN(const double cost, CostOf(model, scores));
  result.passes = cost <= model.max_auc_drop;
  if (!result.passes) {
    result.why_not = name + " loses " + ShortNumber(cost) + " of the ROC-AUC";
    return std::optional(std::move(result));
  }
  VERDICT_ASSIGN_OR_RETURN(result.report, ReportOf(model, name, result.layers, scores, true));
  for (size_t i = 0; i < result.layers.size(); ++i) {
    if (int8.layers[i] || !int8.report) continue;
    result.report->layers[i].reason = int8.report->layers[i].reason;
  }
  return std::optional(std::move(result));
}

Status ApplyPrecisions(const TrialModel& model, const LayerPrecisions& layers, Graph& graph) {
  // Those of one precision at a time: layers that are converted are not found again, the others
  // come in the same order.
  LayerPrecisions left = layers;
  for (const Precision precision : {Precision::kInt8, Precision::kBFloat16, Precision::kFloat16}) {
    if (std::ranges::find(left, std::optional(precision)) == left.end()) continue;
    const auto found = FindQuantizableLayers(graph);
    VERDICT_CHECK(found.size() == left.size());
    std::vector<QuantizableLayer> chosen;
    for (size_t i = 0; i < found.size(); ++i) {
      if (left[i] == precision) chosen.push_back(found[i]);
    }
    VERDICT_RETURN_IF_ERROR(precision == Precision::kInt8
                                ? InsertQuantization(graph, chosen, model.ranges)
                                : InsertHalf(graph, chosen, HalfTypeOf(precision)));
    std::erase(left, std::optional(precision));
  }
  return OkStatus();
}

}  // namespace verdict
