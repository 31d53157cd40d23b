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

class Trial {
 public:
  Trial(TrialModel& model, Precision precision) : model_(model), precision_(precision) {}

  Result<TrialResult> Run() {
    FindOverflows();
    if (open_.empty()) {
      result_.why_not = "no layer holds " + Name() + ": " + reasons_[0];
      return std::move(result_);
    }
    result_.keep = Keeping(std::vector<bool>(open_.size(), false));
    result_.passes = true;
    if (model_.source == nullptr) {
      NoteKept();
      return std::move(result_);
    }
    VERDICT_RETURN_IF_ERROR(PassGate());
    return std::move(result_);
  }

 private:
  std::string Name() const { return std::string(PrecisionName(precision_)); }

  /// Splits the layers into those that are open and those that must keep float32, with the reasons.
  void FindOverflows() {
    reasons_.resize(model_.layers.size());
    for (size_t i = 0; i < model_.layers.size(); ++i) {
      if (precision_ == Precision::kInt8) {
        reasons_[i] = WhyNotInt8(model_.graph, model_.layers[i], model_.ranges);
      } else {
        reasons_[i] = WhyHalfOverflows(model_.graph, model_.layers[i], HalfTypeOf(precision_),
                                       LargestInput(model_.layers[i]));
      }
      if (reasons_[i].empty()) open_.push_back(i);
    }
  }

  /// 0 if unknown.
  float LargestInput(const QuantizableLayer& layer) const {
    if (layer.input == kNoValue) return 0;
    const auto range = model_.ranges.find(model_.graph.value(layer.input).name);
    return range == model_.ranges.end() ? 0
                                        : std::max(range->second.largest, range->second.threshold);
  }

  /// By layer, from what the search says of those that are open.
  std::vector<bool> Keeping(const std::vector<bool>& keep_open) const {
    std::vector<bool> keep(model_.layers.size(), true);
    for (size_t i = 0; i < open_.size(); ++i) keep[open_[i]] = keep_open[i];
    return keep;
  }

  void NoteKept() {
    for (size_t i = 0; i < reasons_.size(); ++i) {
      if (reasons_[i].empty()) continue;
      result_.notes.push_back(LayerName(model_.layers[i]) + " keeps float32: " + reasons_[i]);
    }
  }

  std::string LayerName(const QuantizableLayer& layer) const {
    const Node& node = model_.graph.nodes[static_cast<size_t>(layer.node)];
    return node.name.empty() ? model_.graph.value(node.outputs[0]).name : node.name;
  }

  Status PassGate() {
    VERDICT_ASSIGN_OR_RETURN(const double baseline_auc,
                             RocAuc(model_.baseline.values, model_.baseline.labels));
    Scores last;
    std::vector<bool> last_keep;
    const auto cost_of = [&](const std::vector<bool>& keep_open) -> Result<double> {
      Graph graph = model_.graph;
      last_keep = Keeping(keep_open);
      VERDICT_RETURN_IF_ERROR(ApplyPrecision(model_, precision_, last_keep, graph));
      VERDICT_ASSIGN_OR_RETURN(last, ReadScores(graph, model_.profile, model_.axes, model_.score,
                                                model_.rows_at_once, *model_.source));
      // What overflows on the way has lost everything.
      if (!AreFinite(last.values) && AreFinite(model_.baseline.values)) return 1.0;
      VERDICT_ASSIGN_OR_RETURN(const double auc, RocAuc(last.values, last.labels));
      return baseline_auc - auc;
    };
    VERDICT_ASSIGN_OR_RETURN(const PrecisionChoice choice,
                             SearchPrecision(open_.size(), model_.max_auc_drop, cost_of));
    // Where nothing passes, what all layers in this precision would have done is reported.
    const std::vector<bool> keep_open =
        choice.passes ? choice.keep : std::vector<bool>(open_.size(), false);
    result_.keep = Keeping(keep_open);
    result_.passes = choice.passes;
    if (!choice.passes) {
      result_.why_not = "no layer can be in " + Name() + " for less than " +
                        Number(model_.max_auc_drop) + " of the ROC-AUC";
    }
    if (last_keep != result_.keep) VERDICT_RETURN_IF_ERROR(cost_of(keep_open).status());
    if (!AreFinite(last.values) && AreFinite(model_.baseline.values)) {
      result_.why_not += ": scores overflow";
      return OkStatus();
    }
    PrecisionReport report{.model = model_.name,
                           .precision = Name(),
                           .passed = choice.passes,
                           .max_auc_drop = model_.max_auc_drop};
    VERDICT_ASSIGN_OR_RETURN(report.scores, CompareScores(model_.baseline.values, last.values,
                                                          model_.baseline.labels, {}));
    for (size_t i = 0; i < model_.layers.size(); ++i) report.layers.push_back(Describe(i));
    for (size_t i = 0; i < choice.costs.size(); ++i) {
      report.layers[open_[i]].auc_drop = choice.costs[i];
    }
    result_.report = std::move(report);
    return OkStatus();
  }

  static std::string Number(double value) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%.3g", value);
    return text.data();
  }

  LayerPrecision Describe(size_t index) const {
    const QuantizableLayer& layer = model_.layers[index];
    LayerPrecision described{.name = LayerName(layer),
                             .op = model_.graph.nodes[static_cast<size_t>(layer.node)].op,
                             .precision = result_.keep[index] ? "float32" : Name()};
    if (precision_ == Precision::kInt8 && layer.needs_range) {
      const std::string& tensor = model_.graph.value(layer.input).name;
      if (const auto observer = model_.observers.find(tensor); observer != model_.observers.end()) {
        described.observer = ObserverName(observer->second);
      }
      described.threshold = static_cast<double>(model_.ranges.at(tensor).threshold);
    }
    described.reason = reasons_[index];
    if (result_.keep[index] && described.reason.empty()) {
      described.reason = Name() + " costs too much of the ROC-AUC";
    }
    return described;
  }

  TrialModel& model_;
  Precision precision_;
  std::vector<size_t> open_;          // indices of layers that may take the precision
  std::vector<std::string> reasons_;  // by layer: why it may not
  TrialResult result_;
};

}  // namespace

Result<TrialResult> TryPrecision(TrialModel& model, Precision precision) {
  return Trial(model, precision).Run();
}

Status ApplyPrecision(const TrialModel& model, Precision precision, const std::vector<bool>& keep,
                      Graph& graph) {
  std::vector<QuantizableLayer> layers;
  const auto all = FindQuantizableLayers(graph);
  VERDICT_CHECK(all.size() == keep.size());
  for (size_t i = 0; i < all.size(); ++i) {
    if (!keep[i]) layers.push_back(all[i]);
  }
  if (precision == Precision::kInt8) return InsertQuantization(graph, layers, model.ranges);
  return InsertHalf(graph, layers, HalfTypeOf(precision));
}

}  // namespace verdict
