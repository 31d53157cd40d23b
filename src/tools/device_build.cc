#include "tools/device_build.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/file.h"
#include "compile/device_compile.h"
#include "compile/pipeline.h"
#include "runtime/device_engine.h"
#include "tools/device_samples.h"
#include "tools/model_file.h"
#include "tools/precision_trial.h"
#include "tools/sample_runner.h"

namespace verdict {
namespace {

constexpr int64_t kRowsAtOnce = 64;
constexpr std::string_view kCacheBegins = "TRT-";

/// A precision to try.
struct Rung {
  std::string name;
  bool int8 = false, fp16 = false, bf16 = false, tf32 = false;

  bool is_float() const { return !int8 && !fp16 && !bf16; }
};

std::string NameOf(const Rung& rung) {
  std::string name;
  const auto add = [&](bool is_on, const char* text) {
    if (is_on) name += (name.empty() ? "" : " and ") + std::string(text);
  };
  add(rung.int8, "int8");
  add(rung.fp16, "float16");
  add(rung.bf16, "bfloat16");
  if (!name.empty()) return name;
  return rung.tf32 ? "float32 with TF32" : "float32";
}

/// From what is asked for to what loses nothing.
std::vector<Rung> Ladder(const DeviceBuildRequest& request) {
  const auto allows = [&](Precision precision) {
    return std::ranges::count(request.precision.allowed, precision) > 0;
  };
  Rung rung;
  rung.int8 = allows(Precision::kInt8);
  rung.fp16 = allows(Precision::kFloat16);
  rung.bf16 = allows(Precision::kBFloat16);
  rung.tf32 = request.build.tf32;
  std::vector<Rung> rungs = {rung};
  if (rung.int8) {
    rung.int8 = false;
    rung.fp16 = rung.fp16 || !rung.bf16;
    rungs.push_back(rung);
  }
  if (rung.fp16 || rung.bf16) {
    rung.fp16 = rung.bf16 = false;
    rungs.push_back(rung);
  }
  if (rung.tf32) {
    rung.tf32 = false;
    rungs.push_back(rung);
  }
  for (Rung& each : rungs) each.name = NameOf(each);
  return rungs;
}

/// Runs the engine's samples where it will be served.
class DeviceGraphRunner : public GraphRunner {
 public:
  explicit DeviceGraphRunner(DeviceEngine& engine) : engine_(engine) {
    for (const size_t bytes : engine.output_bytes()) {
      TensorView& view = views_.emplace_back();
      view.data = memory_.emplace_back(bytes).data();
    }
  }
  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) override {
    VERDICT_RETURN_IF_ERROR(engine_.Run(inputs, views_, engine_.output_bytes()));
    return std::span<const TensorView>(views_);
  }

 private:
  DeviceEngine& engine_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<TensorView> views_;
};

class Builder {
 public:
  Builder(const ImportedModel& model, const std::filesystem::path& path,
          const CompileOptions& compile, std::shared_ptr<Device> device,
          const DeviceBuildRequest& request)
      : imported_(model),
        path_(path),
        compile_(compile),
        device_(std::move(device)),
        request_(request),
        options_(request.precision) {}

  Result<DeviceBuild> Build() {
    VERDICT_ASSIGN_OR_RETURN(const Profile profile,
                             MakeProfile(imported_.graph, compile_.min_shapes, compile_.opt_shapes,
                                         compile_.max_shapes));
    VERDICT_RETURN_IF_ERROR(FixExtents(profile, imported_.graph));
    // As in every build below float32: folded into the first layer's weights, a scaler would leave
    // it inputs of all sizes.
    if (!options_.allowed.empty()) compile_.disabled_passes.emplace_back(kFoldScaler.name);
    VERDICT_ASSIGN_OR_RETURN(in_float_, CompileImported(imported_, path_, compile_));
    VERDICT_RETURN_IF_ERROR(Prepare());
    VERDICT_RETURN_IF_ERROR(ReadTimingCache());
    const std::vector<Rung> rungs = Ladder(request_);
    std::string why;
    for (size_t i = 0; i < rungs.size(); ++i) {
      if (i > 0) build_.notes.push_back(why + ": " + rungs[i].name + " is built instead");
      VERDICT_ASSIGN_OR_RETURN(why, Try(rungs[i]));
      if (!why.empty()) continue;
      VERDICT_RETURN_IF_ERROR(WriteCaches());
      return std::move(build_);
    }
    build_.refusal = path_.string() + ": " + why + "; build it without --backend";
    return std::move(build_);
  }

 private:
  const Graph& graph() const { return in_float_.contents.graph; }

  Status Prepare() {
    const bool needs_samples = !options_.calibration.empty() || !options_.evaluation.empty();
    if (needs_samples) {
      VERDICT_ASSIGN_OR_RETURN(axes_, FindSampleAxes(graph()));
      const Profile& profile = in_float_.contents.profiles.front();
      rows_at_once_ =
          axes_.inputs.empty() ? 1 : std::min(kRowsAtOnce, profile.inputs[0].max[axes_.inputs[0]]);
    }
    VERDICT_RETURN_IF_ERROR(OpenCalibration());
    return OpenEvaluation();
  }

  /// A cache of the device's own, or samples.
  Status OpenCalibration() {
    if (options_.calibration.empty()) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(const auto begin,
                             FileCopy::Read(options_.calibration, kCacheBegins.size()));
    const auto text = [](std::span<const std::byte> bytes) {
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    if (text(begin->bytes()) == kCacheBegins) {
      if (request_.is_explicit) return OkStatus();  // read there
      VERDICT_ASSIGN_OR_RETURN(const auto file, FileCopy::Read(options_.calibration));
      cache_ = text(file->bytes());
      return OkStatus();
    }
    CalibrationDataOptions data = options_.data;
    if (!options_.evaluation.empty()) {  // whose labels these are
      data.labels.clear();
      data.ignore_labels = true;
    }
    VERDICT_ASSIGN_OR_RETURN(source_, OpenCalibrationData(options_.calibration, graph(), data));
    if (request_.is_explicit || std::ranges::count(options_.allowed, Precision::kInt8) == 0) {
      return OkStatus();
    }
    VERDICT_ASSIGN_OR_RETURN(
        samples_, CalibrationBatches(in_float_.contents.profiles.front(), axes_, *source_));
    return OkStatus();
  }

  /// From here on, the source is what the device's scores are held to; null without labels.
  Status OpenEvaluation() {
    if (!options_.evaluation.empty()) {
      VERDICT_ASSIGN_OR_RETURN(source_,
                               OpenCalibrationData(options_.evaluation, graph(), options_.data));
      if (!source_->has_labels()) {
        return InvalidArgument(options_.evaluation.string() +
                               " has no labels: a column \"label\", or --labels FILE");
      }
    }
    if (source_ == nullptr || !source_->has_labels()) {
      source_ = nullptr;
      if (!options_.data.labels.empty() || !options_.data.label_column.empty()) {
        return InvalidArgument("the labels have no samples that they are of: --evaluate FILE");
      }
      build_.notes.push_back(
          "the accuracy on the device was not checked: there are no labels (a column \"label\", "
          "--labels, or --evaluate)");
      return OkStatus();
    }
    VERDICT_ASSIGN_OR_RETURN(score_, FindScore(graph(), options_.score));
    const Profile profile =
        SampleProfile(in_float_.contents.profiles.front(), axes_, rows_at_once_);
    VERDICT_ASSIGN_OR_RETURN(baseline_,
                             ReadScores(graph(), profile, axes_, score_, rows_at_once_, *source_));
    return OkStatus();
  }

  /// Builds it; why it is not to be taken, empty if it is.
  Result<std::string> Try(const Rung& rung) {
    CompileResult compiled = in_float_;
    if (request_.is_explicit && !rung.is_float()) {
      VERDICT_ASSIGN_OR_RETURN(PrecisionBuild precision, CompileExplicit(rung));
      std::ranges::move(precision.notes, std::back_inserter(build_.notes));
      if (!precision.refusal.empty()) return precision.refusal;
      compiled = std::move(precision.compiled);
    }
    EngineContents& contents = compiled.contents;
    DeviceCompileOptions options;
    options.build = request_.build;
    options.build.int8 = rung.int8;
    options.build.fp16 = rung.fp16;
    options.build.bf16 = rung.bf16;
    options.build.tf32 = rung.tf32;
    if (!request_.timing_cache.empty()) options.build.timing_cache = &timing_cache_;
    if (rung.int8 && !request_.is_explicit) {
      options.build.calibration_cache = cache_;
      options.samples = samples_;
    }
    options.build.log = options.log = request_.log;
    if (request_.rows_independent) options.rows_independent = request_.rows_independent(contents);
    auto plan = MakeDevicePlan(contents, *device_, options);
    // Too imprecise, or a precision that this device does not have.
    if (plan.status().code() == StatusCode::kDataLoss) return plan.status().message();
    if (!plan.ok()) return plan.status();
    VERDICT_ASSIGN_OR_RETURN(const auto engine, Engine::FromContents(contents));
    VERDICT_ASSIGN_OR_RETURN(const auto loaded, DeviceEngine::Load(device_, *engine, *plan, {}));
    // As every server does when it puts the engine on the device.
    const Status golden = loaded->CheckGolden(*engine);
    if (golden.code() == StatusCode::kDataLoss) return golden.message();
    if (!golden.ok()) return golden;
    VERDICT_ASSIGN_OR_RETURN(const std::string why, Gate(rung, *loaded));
    if (!why.empty()) return why;
    VERDICT_ASSIGN_OR_RETURN(build_.layers, loaded->LayerInformation());
    contents.device_plans = {*std::move(plan)};
    build_.precision = rung.name;
    build_.compiled = std::move(compiled);
    return std::string();
  }

  /// Int8 and halves by our own calibration, whether the CPU gains from it or not.
  Result<PrecisionBuild> CompileExplicit(const Rung& rung) {
    PrecisionOptions options = options_;
    options.allowed.clear();
    if (rung.int8) options.allowed.push_back(Precision::kInt8);
    if (rung.bf16) options.allowed.push_back(Precision::kBFloat16);
    if (rung.fp16) options.allowed.push_back(Precision::kFloat16);
    options.obey = true;
    options.best = false;
    return BuildPrecision(imported_, path_, compile_, options);
  }

  /// Why the scores on the device are not good enough; empty if they are, or nothing can tell.
  Result<std::string> Gate(const Rung& rung, DeviceEngine& engine) {
    if (source_ == nullptr) return std::string();
    DeviceGraphRunner runner(engine);
    auto scores = ReadScores(runner, axes_, score_, rows_at_once_, *source_);
    if (!scores.ok()) return scores.status().WithContext("the scores on the device");
    const auto is_finite = [](float value) { return std::isfinite(value); };
    const std::string name = rung.name + " on " + device_->info().name;
    if (!std::ranges::all_of(scores->values, is_finite) &&
        std::ranges::all_of(baseline_.values, is_finite)) {
      return name + " overflows";
    }
    PrecisionReport report;
    report.model = path_.filename().string();
    report.precision = name;
    report.max_auc_drop = options_.max_auc_drop;
    std::error_code error;  // a cache is no file of samples, and may be none at all
    report.held_out =
        !options_.evaluation.empty() &&
        !std::filesystem::equivalent(options_.evaluation, options_.calibration, error);
    VERDICT_ASSIGN_OR_RETURN(report.scores,
                             CompareScores(baseline_.values, scores->values, baseline_.labels, {}));
    report.passed = report.scores.auc_drop() <= options_.max_auc_drop;
    const double lost = report.scores.auc_drop();
    const bool passed = report.passed;
    build_.report = std::move(report);
    if (passed) return std::string();
    return name + " loses " + ShortNumber(lost) + " of the ROC-AUC, where " +
           ShortNumber(options_.max_auc_drop) + " is allowed";
  }

  Status ReadTimingCache() {
    if (request_.timing_cache.empty()) return OkStatus();
    std::error_code error;
    if (!std::filesystem::exists(request_.timing_cache, error)) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(const auto file, FileCopy::Read(request_.timing_cache));
    timing_cache_.assign(file->bytes().begin(), file->bytes().end());
    return OkStatus();
  }

  Status WriteCaches() {
    if (!request_.timing_cache.empty()) {
      const std::array parts = {std::span<const std::byte>(timing_cache_)};
      VERDICT_RETURN_IF_ERROR(WriteFileAtomically(request_.timing_cache, parts));
    }
    if (request_.save_cache.empty()) return OkStatus();
    const auto& options = build_.compiled.contents.device_plans[0].options;
    const auto cache = options.find("calibration_cache");
    if (cache == options.end()) {
      build_.notes.push_back(request_.save_cache.string() +
                             " was not written: the device did not calibrate");
      return OkStatus();
    }
    const std::array parts = {std::as_bytes(std::span(cache->second))};
    return WriteFileAtomically(request_.save_cache, parts);
  }

  ImportedModel imported_;
  const std::filesystem::path& path_;
  CompileOptions compile_;
  const std::shared_ptr<Device> device_;
  const DeviceBuildRequest& request_;
  const PrecisionOptions& options_;
  CompileResult in_float_;
  SampleAxes axes_;
  int64_t rows_at_once_ = 1;
  std::unique_ptr<SampleSource> source_;
  std::vector<std::vector<Constant>> samples_;
  std::string cache_;
  ScoreOutput score_;
  Scores baseline_;  // of float32 on the CPU
  std::vector<std::byte> timing_cache_;
  DeviceBuild build_;
};

}  // namespace

Result<DeviceBuild> BuildForDevice(const ImportedModel& model, const std::filesystem::path& path,
                                   const CompileOptions& compile, std::shared_ptr<Device> device,
                                   const DeviceBuildRequest& request) {
  return Builder(model, path, compile, std::move(device), request).Build();
}

}  // namespace verdict
