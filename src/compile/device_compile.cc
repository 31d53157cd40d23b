#include "compile/device_compile.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/device/build_options.h"
#include "compile/plan_runner.h"
#include "compile/run_parts.h"
#include "ops/evaluate.h"
#include "plan/profile.h"

namespace verdict {
namespace {

bool IsQuantized(const Graph& graph) {
  return std::ranges::any_of(graph.nodes,
                             [](const Node& node) { return node.op == "QuantizeLinear"; });
}

/// What rounding in the precision does to the outputs of common models; more where the golden
/// vectors show more.
float LeastTolerance(const Graph& graph, const DeviceBuildOptions& options) {
  constexpr float kTf32 = 1e-3F, kFloat16 = 1e-2F, kBFloat16 = 2e-2F, kInt8 = 5e-2F;
  if (options.int8 || IsQuantized(graph)) return kInt8;
  if (options.bf16) return kBFloat16;
  if (options.fp16) return kFloat16;
  return options.tf32 ? kTf32 : kMinGoldenTolerance;
}

/// The outputs that a device may be off by, in parts of what was seen on a few inputs.
constexpr float kMargin = 4;

template <typename T>
double LargestDifference(const TensorView& expected, const TensorView& actual) {
  const auto want = expected.as<const T>(), got = actual.as<const T>();
  double largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] == got[i] || (std::isnan(want[i]) && std::isnan(got[i]))) continue;
    const double difference = std::fabs(double{want[i]} - double{got[i]});
    const double relative = difference / (1 + std::fabs(double{want[i]}));
    largest = std::isfinite(relative) ? std::max(largest, relative) : INFINITY;
  }
  return largest;
}

/// Infinity where they are not of one kind, or not the same and no floats.
double LargestDifference(const Constant& expected, const Constant& actual) {
  if (expected.dtype != actual.dtype || !(expected.shape == actual.shape)) return INFINITY;
  const TensorView want = expected.view(), got = actual.view();
  if (expected.dtype == DataType::kFloat32) return LargestDifference<float>(want, got);
  if (expected.dtype == DataType::kFloat64) return LargestDifference<double>(want, got);
  if (expected.dtype == DataType::kString) {
    const bool same =
        std::ranges::equal(want.as<const std::string_view>(), got.as<const std::string_view>());
    return same ? 0 : INFINITY;
  }
  const size_t bytes = ByteSize(expected.dtype, expected.shape).value();
  return bytes == 0 || std::memcmp(want.data, got.data, bytes) == 0 ? 0 : INFINITY;
}

std::vector<TensorView> Views(std::span<const Constant> tensors) {
  std::vector<TensorView> views;
  for (const Constant& tensor : tensors) views.push_back(tensor.view());
  return views;
}

/// A plan in the making.
class Planner {
 public:
  Planner(const EngineContents& contents, Device& device) : contents_(contents), device_(device) {}

  Status Extract(std::vector<Part> parts) {
    for (Part& part : parts) plan_.parts.emplace_back().part = std::move(part);
    VERDICT_ASSIGN_OR_RETURN(sources_, ExtractPlan(contents_.graph, contents_.profiles, plan_));
    plan_.backend = device_.info().backend;
    plan_.fingerprint = device_.info().fingerprint;
    plan_.device = device_.info().name + ", " + device_.info().versions;
    return OkStatus();
  }

  /// Fills the inputs of each device part from the samples.
  Status RunSamples(std::span<const std::vector<Constant>> samples) {
    samples_.resize(sources_.size());
    for (const std::vector<Constant>& sample : samples) {
      const auto run = [&](size_t index, std::span<const TensorView> inputs) {
        if (on_device(index)) {
          std::vector<Constant>& kept = samples_[index].emplace_back();
          for (const TensorView& input : inputs) kept.push_back(CopyOf(input));
        }
        return Evaluate(sources_[index].part.graph, inputs);
      };
      VERDICT_RETURN_IF_ERROR(RunParts(contents_.graph, sources_, Views(sample), run).status());
    }
    return OkStatus();
  }

  /// Builds one part's program. Fills the options' calibration cache, if it made one.
  Status Build(size_t index, DeviceBuildOptions& options) {
    if (!samples_.empty()) options.samples = samples_[index];
    auto blob = device_.Build(graph(index), sources_[index].profiles, options);
    options.samples = {};
    if (!blob.ok()) return blob.status().WithContext("part " + std::to_string(index));
    if (!blob->calibration_cache.empty()) options.calibration_cache = blob->calibration_cache;
    Keep(index, std::move(blob->bytes));
    return OkStatus();
  }

  void Keep(size_t index, std::vector<std::byte> program) {
    SetProgram(std::move(program), sources_[index], plan_.parts[index]);
  }

  /// Runs the golden vectors on the device, the rest with the reference kernels.
  Status FindTolerance(float least) {
    VERDICT_ASSIGN_OR_RETURN(const auto runner,
                             PlanRunner::Load(contents_.graph, sources_, plan_, device_));
    plan_.tolerance = least;
    for (size_t i = 0; i < contents_.golden.size(); ++i) {
      const GoldenVector& golden = contents_.golden[i];
      VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> outputs,
                               runner->Run(Views(golden.inputs)));
      VERDICT_RETURN_IF_ERROR(Compare(i, golden.outputs, outputs));
    }
    return OkStatus();
  }

  size_t size() const { return sources_.size(); }
  bool on_device(size_t index) const { return plan_.parts[index].part.on_device; }
  const Graph& graph(size_t index) const { return sources_[index].part.graph; }
  DevicePlan& plan() { return plan_; }

 private:
  Status Compare(size_t vector, std::span<const Constant> expected,
                 std::span<const Constant> actual) {
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = LargestDifference(expected[i], actual[i]);
      if (difference > double{kMaxDeviceTolerance}) {
        const std::string how = std::isfinite(difference)
                                    ? "is off by " + std::to_string(difference) + ", more than " +
                                          std::to_string(kMaxDeviceTolerance).substr(0, 3)
                                    : std::string("is another");
        return DataLoss("golden vector " + std::to_string(vector) + ": output '" +
                        contents_.graph.value(contents_.graph.outputs[i]).name + "' " + how +
                        " on " + device_.info().name + "; build in a wider precision");
      }
      const float wanted = kMargin * static_cast<float>(difference);
      plan_.tolerance = std::clamp(wanted, plan_.tolerance, kMaxDeviceTolerance);
    }
    return OkStatus();
  }

  const EngineContents& contents_;
  Device& device_;
  std::vector<PlanPart> sources_;
  std::vector<std::vector<std::vector<Constant>>> samples_;  // by part, of those on the device
  DevicePlan plan_;
};

/// Whether the device itself finds the ranges of int8.
bool Calibrates(const Graph& graph, const DeviceBuildOptions& options) {
  return options.int8 && !IsQuantized(graph);
}

Status CheckCalibration(std::span<const Part> parts) {
  const auto on_device = std::ranges::count_if(parts, &Part::on_device);
  if (on_device < 2) return OkStatus();
  return Unimplemented(
      "int8 by the device's own calibration takes a model with one part on it; this "
      "one has " +
      std::to_string(on_device) + ". Build it with --explicit, which calibrates the whole model");
}

}  // namespace

Result<DevicePlan> MakeDevicePlan(const EngineContents& contents, Device& device,
                                  const DeviceCompileOptions& options) {
  std::vector<Part> parts = PartitionGraph(
      contents.graph, [&](const Node& node) { return device.Supports(contents.graph, node); },
      options.log);
  if (parts.empty()) {
    return FailedPrecondition("nothing in the model is worth " + device.info().name +
                              ": it has no product, convolution, recurrent layer or attention that "
                              "runs there (--verbose says why)");
  }
  const bool calibrates = Calibrates(contents.graph, options.build);
  if (calibrates) VERDICT_RETURN_IF_ERROR(CheckCalibration(parts));
  Planner planner(contents, device);
  VERDICT_RETURN_IF_ERROR(planner.Extract(std::move(parts)));
  DeviceBuildOptions build = options.build;
  if (calibrates && build.calibration_cache.empty()) {
    VERDICT_RETURN_IF_ERROR(planner.RunSamples(options.samples));
  }
  for (size_t i = 0; i < planner.size(); ++i) {
    if (planner.on_device(i)) VERDICT_RETURN_IF_ERROR(planner.Build(i, build));
  }
  planner.plan().options = BuildOptionsText(build);
  planner.plan().rows_independent = options.rows_independent;
  VERDICT_RETURN_IF_ERROR(planner.FindTolerance(LeastTolerance(contents.graph, build)));
  return std::move(planner.plan());
}

Result<DevicePlan> RefitDevicePlan(const EngineContents& contents, const EngineContents& old,
                                   const DevicePlan& plan, Device& device,
                                   const std::function<void(const std::string&)>& log) {
  if (plan.fingerprint != device.info().fingerprint) {
    return FailedPrecondition("the engine's plan is for '" + plan.fingerprint +
                              "', this device is '" + device.info().fingerprint +
                              "'; build the engine again here");
  }
  VERDICT_ASSIGN_OR_RETURN(DeviceBuildOptions build, ParseBuildOptions(plan.options));
  if (Calibrates(contents.graph, build)) {
    return FailedPrecondition(
        "the engine's int8 was calibrated with its old weights; build it again with --calib");
  }
  VERDICT_RETURN_IF_ERROR(CheckPrograms(old, plan));
  std::vector<Part> parts;
  for (const DevicePart& part : plan.parts) parts.push_back(part.part);
  Planner planner(contents, device);
  VERDICT_RETURN_IF_ERROR(planner.Extract(std::move(parts)));
  for (size_t i = 0; i < planner.size(); ++i) {
    if (!planner.on_device(i)) continue;
    auto bytes = device.Refit(plan.parts[i].program, planner.graph(i));
    const std::string name = "part " + std::to_string(i);
    if (bytes.ok()) {
      planner.Keep(i, *std::move(bytes));
      if (log) log(name + " was refitted");
      continue;
    }
    if (bytes.status().code() != StatusCode::kFailedPrecondition &&
        bytes.status().code() != StatusCode::kUnimplemented) {
      return bytes.status().WithContext(name);
    }
    if (log) log(name + " is built again: " + bytes.status().message());
    VERDICT_RETURN_IF_ERROR(planner.Build(i, build));
  }
  planner.plan().options = plan.options;
  planner.plan().rows_independent = plan.rows_independent;
  VERDICT_RETURN_IF_ERROR(planner.FindTolerance(LeastTolerance(contents.graph, build)));
  return std::move(planner.plan());
}

}  // namespace verdict
