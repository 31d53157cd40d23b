#include "tools/precision_build.h"

#include <algorithm>
#include <limits>

#include "base/file.h"
#include "compile/pipeline.h"
#include "ops/half.h"
#include "quant/calibrate.h"
#include "quant/calibration_cache.h"
#include "release/gates/score_comparison.h"
#include "tools/model_file.h"
#include "tools/precision_trial.h"
#include "tools/sample_runner.h"

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

/// How long the candidate takes, as a share of float32's time.
double Ratio(const SpeedComparison& times) { return times.candidate_us / times.baseline_us; }

double MeanRatio(const std::vector<SpeedComparison>& speeds) {
  double sum = 0;
  for (const SpeedComparison& times : speeds) sum += Ratio(times);
  return sum / static_cast<double>(speeds.size());
}

/// Why an engine of this attempt is not kept; empty if it may be.
std::string WhySlower(const PrecisionAttempt& attempt) {
  if (attempt.speeds.empty()) {
    return attempt.name + " could not be timed: the model refuses made-up inputs";
  }
  const auto worst = std::ranges::max_element(attempt.speeds, {}, Ratio);
  if (Ratio(*worst) <= 1) return "";
  return attempt.name + " takes " + ShortNumber(Ratio(*worst)) + " times as long as float32 at " +
         ToString(worst->first_input) + " on this machine";
}

/// Builds one model; keeps what its steps share.
class Builder {
 public:
  Builder(const ImportedModel& model, const std::filesystem::path& path,
          const CompileOptions& compile, const PrecisionOptions& options)
      : imported_(model), path_(path), compile_(compile), options_(options) {}

  Result<PrecisionBuild> Build() {
    VERDICT_ASSIGN_OR_RETURN(in_float_, CompileImported(imported_, path_, compile_));
    // Folded into a layer's weights, a scaler would leave it inputs of all sizes, for which int8
    // has one scale: on card transactions that costs half of the ROC-AUC. Halves would round before
    // the mean is taken off.
    compile_.disabled_passes.emplace_back(kFoldScaler.name);
    model_.name = path_.filename().string();
    model_.graph = imported_.graph;
    VERDICT_RETURN_IF_ERROR(RunPasses(model_.graph, compile_.disabled_passes).status());
    model_.layers = FindQuantizableLayers(model_.graph);
    VERDICT_RETURN_IF_ERROR(CheckFiles());
    if (model_.layers.empty()) return OrFloat(WhyNoLayers());
    VERDICT_ASSIGN_OR_RETURN(model_.axes, FindSampleAxes(model_.graph));
    model_.rows_at_once = model_.axes.inputs.empty() ? 1 : kRowsAtOnce;
    model_.profile =
        SampleProfile(in_float_.contents.profiles.front(), model_.axes, model_.rows_at_once);
    model_.max_auc_drop = options_.max_auc_drop;
    VERDICT_RETURN_IF_ERROR(FindRanges());
    VERDICT_RETURN_IF_ERROR(OpenEvaluation());
    for (const Precision precision : options_.allowed) {
      VERDICT_ASSIGN_OR_RETURN(TrialResult trial, TryPrecision(model_, precision));
      VERDICT_RETURN_IF_ERROR(Attempt(std::string(PrecisionName(precision)), trial));
      if (precision == Precision::kInt8) int8_ = std::move(trial);
    }
    VERDICT_RETURN_IF_ERROR(AttemptHalfForTheRest());
    return Choose();
  }

 private:
  /// A typing error in a path is one whatever the model is.
  Status CheckFiles() const {
    for (const auto& path : {options_.calibration, options_.evaluation}) {
      if (!path.empty()) VERDICT_RETURN_IF_ERROR(IsCalibrationCache(path).status());
    }
    return OkStatus();
  }

  std::string WhyNoLayers() {
    is_quantized_ = std::ranges::any_of(model_.graph.nodes, [&](const Node& node) {
      return node.op == "DequantizeLinear" ||
             (node.op == "Cast" && IsHalf(model_.graph.value(node.inputs[0]).dtype));
    });
    if (is_quantized_) return "the model is quantized already, and runs as it says";
    return "the model has no layer that computes in another precision: only products with constant "
           "weights, LSTM, GRU and embeddings do";
  }

  /// The float32 engine with the reason among the notes, or the refusal.
  Result<PrecisionBuild> OrFloat(const std::string& why) {
    if (!options_.best) {
      build_.refusal = path_.string() + ": " + why + "; build it without " + Flags() +
                       ", or with --best, which then takes float32";
      return std::move(build_);
    }
    return KeepFloat(why);
  }

  /// "--int8", "--bf16 and --fp16"
  std::string Flags() const {
    std::string flags;
    for (const Precision precision : options_.allowed) {
      flags += flags.empty() ? "" : " and ";
      flags += precision == Precision::kInt8      ? "--int8"
               : precision == Precision::kFloat16 ? "--fp16"
                                                  : "--bf16";
    }
    return flags;
  }

  Result<PrecisionBuild> KeepFloat(const std::string& why) {
    build_.why_float = why;
    for (PrecisionAttempt& attempt : build_.attempts) {
      if (attempt.report) attempt.report->engine = "float32 is kept: " + why;
    }
    build_.compiled = std::move(in_float_);
    build_.notes.push_back((is_quantized_ ? "nothing was changed: " : "float32 is kept: ") + why);
    return std::move(build_);
  }

  bool Allows(Precision precision) const {
    return std::ranges::find(options_.allowed, precision) != options_.allowed.end();
  }

  /// Fills the ranges, from the samples or a cache, and opens the samples.
  Status FindRanges() {
    if (options_.calibration.empty()) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(const bool is_cache, IsCalibrationCache(options_.calibration));
    if (is_cache) return ReadRanges();
    CalibrationDataOptions data = options_.data;
    if (!options_.evaluation.empty()) {  // whose labels these are
      data.labels.clear();
      data.ignore_labels = true;
    }
    VERDICT_ASSIGN_OR_RETURN(model_.source,
                             OpenCalibrationData(options_.calibration, model_.graph, data));
    VERDICT_ASSIGN_OR_RETURN(
        CalibrationResult calibrated,
        Calibrate(
            model_.graph, model_.layers, *model_.source,
            [this](Graph graph) { return MakeSampleRunner(std::move(graph), model_.profile); },
            {.observer = options_.observer, .rows_at_once = model_.rows_at_once}));
    model_.ranges = std::move(calibrated.ranges);
    model_.observers = std::move(calibrated.observers);
    return OkStatus();
  }

  Status ReadRanges() {
    VERDICT_ASSIGN_OR_RETURN(const auto loaded,
                             ReadCalibrationCache(options_.calibration, Sha256()));
    if (!loaded.is_bound) {
      build_.notes.push_back(options_.calibration.string() +
                             " does not say which model it was made for");
    }
    if (Allows(Precision::kFloat16)) {
      build_.notes.push_back(
          "a cache does not tell the largest activations: what overflows float16 "
          "is found by its weights and, with labels, by the scores");
    }
    for (const QuantizableLayer& layer : model_.layers) {
      if (!layer.needs_range) continue;
      const std::string& name = model_.graph.value(layer.input).name;
      const auto scale = loaded.cache.scales.find(name);
      if (scale != loaded.cache.scales.end()) {
        model_.ranges[name].threshold = scale->second * 127.0F;
      } else if (Allows(Precision::kInt8)) {
        return InvalidArgument(options_.calibration.string() + " has no tensor '" + name +
                               "': it was made for another model, or with other passes");
      }
    }
    return OkStatus();
  }

  std::string Sha256() const { return in_float_.contents.metadata.at("source_sha256"); }

  /// From here on, the source is what the model is held to; null without labels.
  Status OpenEvaluation() {
    if (!options_.evaluation.empty()) {
      VERDICT_ASSIGN_OR_RETURN(
          model_.source, OpenCalibrationData(options_.evaluation, model_.graph, options_.data));
      if (!model_.source->has_labels()) {
        return InvalidArgument(options_.evaluation.string() +
                               " has no labels: a column \"label\", or --labels FILE");
      }
    }
    if (model_.source != nullptr && model_.source->has_labels()) {
      std::error_code error;  // a cache is no file of samples, and may be none at all
      model_.held_out =
          !options_.evaluation.empty() &&
          !std::filesystem::equivalent(options_.evaluation, options_.calibration, error);
      if (!model_.held_out) {
        build_.notes.push_back(
            "the accuracy is that of the rows of the calibration; --evaluate FILE takes others");
      }
      VERDICT_ASSIGN_OR_RETURN(model_.score, FindScore(model_.graph, options_.score));
      VERDICT_ASSIGN_OR_RETURN(model_.baseline,
                               ReadScores(model_.graph, model_.profile, model_.axes, model_.score,
                                          model_.rows_at_once, *model_.source));
      VERDICT_ASSIGN_OR_RETURN(model_.baseline_auc,
                               RocAuc(model_.baseline.values, model_.baseline.labels));
      return OkStatus();
    }
    model_.source = nullptr;
    if (!options_.data.labels.empty() || !options_.data.label_column.empty()) {
      return InvalidArgument("the labels have no samples that they are of: --evaluate FILE");
    }
    build_.notes.push_back(
        "the accuracy was not checked: there are no labels (a column \"label\", --labels, or "
        "--evaluate)");
    return OkStatus();
  }

  Status AttemptHalfForTheRest() {
    const auto half = std::ranges::find_if(
        options_.allowed, [](Precision precision) { return precision != Precision::kInt8; });
    if (!int8_ || !int8_->passes || half == options_.allowed.end()) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(const auto trial, TryHalfForTheRest(model_, *int8_, *half));
    if (!trial) return OkStatus();
    return Attempt("int8+" + std::string(PrecisionName(*half)), *trial);
  }

  Status Attempt(const std::string& name, const TrialResult& trial) {
    PrecisionAttempt attempt{.name = name, .report = trial.report, .why_not = trial.why_not};
    std::ranges::copy(trial.notes, std::back_inserter(build_.notes));
    CompileResult compiled;
    if (trial.passes) {
      CompileOptions compile = compile_;
      compile.after_passes = [&](Graph& graph) {
        return ApplyPrecisions(model_, trial.layers, graph);
      };
      VERDICT_ASSIGN_OR_RETURN(compiled, CompileImported(imported_, path_, compile));
      VERDICT_ASSIGN_OR_RETURN(attempt.speeds, CompareSpeed(in_float_.contents, compiled.contents));
    }
    build_.attempts.push_back(std::move(attempt));
    compiled_.push_back(std::move(compiled));
    return OkStatus();
  }

  Result<PrecisionBuild> Choose() {
    const PrecisionDecision decision = DecidePrecision(build_.attempts, options_.obey);
    if (!decision.passed) return OrFloat(decision.why_float);
    if (!options_.cache.empty()) VERDICT_RETURN_IF_ERROR(SaveCache());
    if (!decision.attempt) return KeepFloat(decision.why_float);
    const std::string slower = WhySlower(build_.attempts[*decision.attempt]);
    if (!slower.empty()) build_.notes.push_back(slower);
    build_.chosen = decision.attempt;
    build_.compiled = std::move(compiled_[*decision.attempt]);
    return std::move(build_);
  }

  Status SaveCache() const {
    CalibrationCache cache;
    for (const auto& [name, range] : model_.ranges) cache.scales[name] = range.threshold / 127.0F;
    return WriteCalibrationCache(options_.cache, cache, path_, Sha256());
  }

  const ImportedModel& imported_;
  const std::filesystem::path& path_;
  CompileOptions compile_;
  const PrecisionOptions& options_;
  CompileResult in_float_;
  bool is_quantized_ = false;  // before we touched it
  TrialModel model_;
  std::optional<TrialResult> int8_;
  std::vector<CompileResult> compiled_;  // by attempt
  PrecisionBuild build_;
};

}  // namespace

PrecisionDecision DecidePrecision(std::span<const PrecisionAttempt> attempts, bool obey) {
  PrecisionDecision decision;
  std::string why_not, why_slower;
  const auto add = [](std::string& list, const std::string& reason) {
    list += (list.empty() ? "" : "; ") + reason;
  };
  double least = 0;
  for (size_t i = 0; i < attempts.size(); ++i) {
    const PrecisionAttempt& attempt = attempts[i];
    if (!attempt.why_not.empty()) {
      add(why_not, attempt.why_not);
      continue;
    }
    decision.passed = true;
    const std::string slower = WhySlower(attempt);
    if (!slower.empty() && !obey) {
      add(why_slower, slower);
      continue;
    }
    const double ratio =
        attempt.speeds.empty() ? std::numeric_limits<double>::max() : MeanRatio(attempt.speeds);
    if (decision.attempt && ratio >= least) continue;
    decision.attempt = i;
    least = ratio;
  }
  if (!decision.attempt) decision.why_float = decision.passed ? why_slower : why_not;
  return decision;
}

Result<PrecisionBuild> BuildPrecision(const ImportedModel& model, const std::filesystem::path& path,
                                      const CompileOptions& compile,
                                      const PrecisionOptions& options) {
  return Builder(model, path, compile, options).Build();
}

}  // namespace verdict
