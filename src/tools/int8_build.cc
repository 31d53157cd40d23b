#include "tools/int8_build.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/file.h"
#include "compile/pipeline.h"
#include "quant/calibrate.h"
#include "quant/calibration_cache.h"
#include "release/gates/score_comparison.h"
#include "tools/model_file.h"
#include "tools/precision_search.h"
#include "tools/sample_runner.h"
#include "tools/score_reader.h"

namespace verdict {
namespace {

constexpr int64_t kRowsAtOnce = 64;
constexpr std::string_view kCacheBegins = "TRT-";

Result<bool> IsCalibrationCache(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const auto file, FileCopy::Read(path, kCacheBegins.size()));
  const auto bytes = file->bytes();
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) ==
         kCacheBegins;
}

/// Builds one model; keeps what its steps share.
class Builder {
 public:
  Builder(const ImportedModel& model, const std::filesystem::path& path,
          const CompileOptions& compile, const Int8Options& options)
      : model_(model), path_(path), compile_(compile), options_(options) {}

  Result<Int8Build> Build() {
    VERDICT_ASSIGN_OR_RETURN(CompileResult in_float, CompileImported(model_, path_, compile_));
    CompileOptions compile = compile_;
    // Folded into a layer's weights, a scaler would leave it inputs of all sizes, for which int8
    // has one scale: on card transactions that costs half of the ROC-AUC.
    compile.disabled_passes.emplace_back(kFoldScaler.name);
    graph_ = model_.graph;
    VERDICT_RETURN_IF_ERROR(RunPasses(graph_, compile.disabled_passes).status());
    layers_ = FindQuantizableLayers(graph_);
    is_quantized_ = std::ranges::any_of(
        graph_.nodes, [](const Node& node) { return node.op == "DequantizeLinear"; });
    if (layers_.empty() && is_quantized_) {
      return OrFloat(std::move(in_float), "the model is quantized already, and runs as it says");
    }
    if (layers_.empty()) {
      return OrFloat(std::move(in_float),
                     "the model has no layer that computes with int8: only products with constant "
                     "weights do");
    }
    VERDICT_ASSIGN_OR_RETURN(axes_, FindSampleAxes(graph_));
    rows_at_once_ = axes_.inputs.empty() ? 1 : kRowsAtOnce;
    profile_ = SampleProfile(in_float.contents.profiles.front(), axes_, rows_at_once_);
    VERDICT_RETURN_IF_ERROR(FindRanges(in_float.contents.metadata.at("source_sha256")));

    keep_.assign(layers_.size(), false);
    VERDICT_RETURN_IF_ERROR(OpenEvaluation());
    if (source_ != nullptr && source_->has_labels()) {
      VERDICT_ASSIGN_OR_RETURN(const bool passes, PassGate());
      if (!passes) {
        const std::string why = "no layer can be quantized for less than " +
                                Number(options_.max_auc_drop) + " of the ROC-AUC";
        return OrFloat(std::move(in_float), why);
      }
    } else {
      build_.notes.push_back(
          "the accuracy was not checked: there are no labels (a column \"label\", --labels, or "
          "--evaluate)");
    }
    compile.after_passes = [&](Graph& graph) { return Quantize(graph, keep_); };
    VERDICT_ASSIGN_OR_RETURN(build_.compiled, CompileImported(model_, path_, compile));
    VERDICT_ASSIGN_OR_RETURN(build_.speeds,
                             CompareSpeed(in_float.contents, build_.compiled.contents));
    double ratio = 0;
    for (const SpeedComparison& times : build_.speeds) {
      ratio += times.candidate_us / times.baseline_us / static_cast<double>(build_.speeds.size());
    }
    if (!options_.cache.empty()) VERDICT_RETURN_IF_ERROR(SaveCache());
    if (ratio > 1) {
      const std::string slower =
          "int8 takes " + Number(ratio) + " times as long as float32 on this machine";
      if (!options_.obey) return KeepFloat(std::move(in_float), slower);
      build_.notes.push_back(slower);
    }
    return std::move(build_);
  }

 private:
  static std::string Number(double value) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%.3g", value);
    return text.data();
  }

  /// The float32 engine with the reason among the notes, or the refusal.
  Result<Int8Build> OrFloat(CompileResult in_float, const std::string& why) {
    if (!options_.best) {
      build_.refusal = path_.string() + ": " + why +
                       "; build it without --int8, or with --best, which then takes float32";
      return std::move(build_);
    }
    return KeepFloat(std::move(in_float), why);
  }

  Result<Int8Build> KeepFloat(CompileResult in_float, const std::string& why) {
    build_.compiled = std::move(in_float);
    build_.in_float32 = true;
    build_.notes.push_back((is_quantized_ ? "nothing was changed: " : "float32 is kept: ") + why);
    return std::move(build_);
  }

  /// Fills ranges_, from the samples or a cache, and opens the samples.
  Status FindRanges(const std::string& model_sha256) {
    VERDICT_ASSIGN_OR_RETURN(const bool is_cache, IsCalibrationCache(options_.calibration));
    model_sha256_ = model_sha256;
    if (is_cache) {
      VERDICT_ASSIGN_OR_RETURN(const auto loaded,
                               ReadCalibrationCache(options_.calibration, model_sha256));
      if (!loaded.is_bound) {
        build_.notes.push_back(options_.calibration.string() +
                               " does not say which model it was made for");
      }
      for (const QuantizableLayer& layer : layers_) {
        if (layer.input == kNoValue) continue;
        const std::string& name = graph_.value(layer.input).name;
        const auto scale = loaded.cache.scales.find(name);
        if (scale == loaded.cache.scales.end()) {
          return InvalidArgument(options_.calibration.string() + " has no tensor '" + name +
                                 "': it was made for another model, or with other passes");
        }
        ranges_[name].threshold = scale->second * 127.0F;
      }
      return OkStatus();
    }
    CalibrationDataOptions data = options_.data;
    if (!options_.evaluation.empty()) data.labels.clear();
    VERDICT_ASSIGN_OR_RETURN(source_, OpenCalibrationData(options_.calibration, graph_, data));
    VERDICT_ASSIGN_OR_RETURN(
        CalibrationResult calibrated,
        Calibrate(graph_, layers_, *source_, MakeRunner(),
                  {.observer = options_.observer, .rows_at_once = rows_at_once_}));
    ranges_ = std::move(calibrated.ranges);
    observers_ = std::move(calibrated.observers);
    return OkStatus();
  }

  /// From here on, source_ is what the model is held to.
  Status OpenEvaluation() {
    if (options_.evaluation.empty()) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(source_,
                             OpenCalibrationData(options_.evaluation, graph_, options_.data));
    if (source_->has_labels()) return OkStatus();
    return InvalidArgument(options_.evaluation.string() +
                           " has no labels: a column \"label\", or --labels FILE");
  }

  MakeGraphRunner MakeRunner() const {
    return [this](Graph graph) { return MakeSampleRunner(std::move(graph), profile_); };
  }

  Status Quantize(Graph& graph, const std::vector<bool>& keep) const {
    std::vector<QuantizableLayer> layers;
    const auto all = FindQuantizableLayers(graph);
    VERDICT_CHECK(all.size() == keep.size());
    for (size_t i = 0; i < all.size(); ++i) {
      if (!keep[i]) layers.push_back(all[i]);
    }
    return InsertQuantization(graph, layers, ranges_);
  }

  Result<Scores> ScoresOf(const Graph& graph) {
    return ReadScores(graph, profile_, axes_, score_, rows_at_once_, *source_);
  }

  /// Chooses the layers that keep float32, and writes the report.
  Result<bool> PassGate() {
    VERDICT_ASSIGN_OR_RETURN(score_, FindScore(graph_, options_.score));
    VERDICT_ASSIGN_OR_RETURN(const Scores baseline, ScoresOf(graph_));
    VERDICT_ASSIGN_OR_RETURN(const double baseline_auc, RocAuc(baseline.values, baseline.labels));
    Scores last;
    std::vector<bool> last_keep;
    const auto cost_of = [&](const std::vector<bool>& keep) -> Result<double> {
      Graph graph = graph_;
      VERDICT_RETURN_IF_ERROR(Quantize(graph, keep));
      VERDICT_ASSIGN_OR_RETURN(last, ScoresOf(graph));
      last_keep = keep;
      VERDICT_ASSIGN_OR_RETURN(const double auc, RocAuc(last.values, last.labels));
      return baseline_auc - auc;
    };
    VERDICT_ASSIGN_OR_RETURN(const PrecisionChoice choice,
                             SearchPrecision(layers_.size(), options_.max_auc_drop, cost_of));
    // Where nothing passes, what all layers in int8 would have done is reported.
    keep_ = choice.passes ? choice.keep : std::vector<bool>(layers_.size(), false);
    if (last_keep != keep_) VERDICT_RETURN_IF_ERROR(cost_of(keep_).status());
    PrecisionReport report{.model = path_.filename().string(),
                           .precision = "int8",
                           .passed = choice.passes,
                           .max_auc_drop = options_.max_auc_drop};
    VERDICT_ASSIGN_OR_RETURN(report.scores,
                             CompareScores(baseline.values, last.values, baseline.labels, {}));
    for (size_t i = 0; i < layers_.size(); ++i) report.layers.push_back(Describe(i, choice));
    build_.report = std::move(report);
    return choice.passes;
  }

  LayerPrecision Describe(size_t index, const PrecisionChoice& choice) const {
    const QuantizableLayer& layer = layers_[index];
    const Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    LayerPrecision described{
        .name = node.name.empty() ? graph_.value(node.outputs[0]).name : node.name,
        .op = node.op,
        .precision = keep_[index] ? "float32" : "int8"};
    if (layer.input != kNoValue) {
      const std::string& tensor = graph_.value(layer.input).name;
      if (const auto observer = observers_.find(tensor); observer != observers_.end()) {
        described.observer = ObserverName(observer->second);
      }
      described.threshold = ranges_.at(tensor).threshold;
    }
    if (!choice.costs.empty()) described.auc_drop = choice.costs[index];
    if (keep_[index]) described.reason = "quantizing it costs too much of the ROC-AUC";
    return described;
  }

  Status SaveCache() const {
    CalibrationCache cache;
    for (const auto& [name, range] : ranges_) cache.scales[name] = range.threshold / 127.0F;
    return WriteCalibrationCache(options_.cache, cache, path_, model_sha256_);
  }

  const ImportedModel& model_;
  const std::filesystem::path& path_;
  const CompileOptions& compile_;
  const Int8Options& options_;
  Graph graph_;                // in float32, after the passes
  bool is_quantized_ = false;  // before we touched it
  std::vector<QuantizableLayer> layers_;
  SampleAxes axes_;
  int64_t rows_at_once_ = 1;
  Profile profile_;  // of samples
  std::string model_sha256_;
  std::unique_ptr<SampleSource> source_;  // null with a cache
  TensorRanges ranges_;
  std::map<std::string, Observer, std::less<>> observers_;
  ScoreOutput score_;
  std::vector<bool> keep_;
  Int8Build build_;
};

}  // namespace

Result<Int8Build> BuildInt8(const ImportedModel& model, const std::filesystem::path& path,
                            const CompileOptions& compile, const Int8Options& options) {
  return Builder(model, path, compile, options).Build();
}

}  // namespace verdict
