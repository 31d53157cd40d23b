#include "backends/tensorrt/engine_builder.h"

#include <algorithm>

#include "backends/tensorrt/builder_options.h"
#include "backends/tensorrt/calibrator.h"
#include "backends/tensorrt/engine_tensors.h"
#include "backends/tensorrt/network_builder.h"
#include "backends/tensorrt/program.h"

namespace verdict::tensorrt {
namespace {

template <typename T>
using Deleted = std::unique_ptr<T>;  // a builder's objects end within the call

/// Ends the build's own log with the build.
class BuildLog {
 public:
  BuildLog(Logger& logger, const std::function<void(const std::string&)>& log) : logger_(logger) {
    logger_.TakeErrors();  // older ones
    logger_.SetBuildLog(log);
  }
  ~BuildLog() { logger_.SetBuildLog({}); }
  BuildLog(const BuildLog&) = delete;
  BuildLog& operator=(const BuildLog&) = delete;

 private:
  Logger& logger_;
};

bool HasOperator(const Graph& graph, const char* op) {
  return std::ranges::any_of(graph.nodes, [&](const Node& node) { return node.op == op; });
}

[[maybe_unused]] bool HasType(const Graph& graph, DataType dtype) {
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    if (graph.value(id).dtype == dtype) return true;
  }
  return false;
}

Status CheckOptions(const Graph& graph, std::span<const Profile> profiles,
                    const DeviceBuildOptions& options) {
  if (profiles.empty()) return InvalidArgument("a device program needs an optimization profile");
  for (const Profile& profile : profiles) {
    if (profile.inputs.size() != graph.inputs.size()) {
      return InvalidArgument("an optimization profile does not have the graph's inputs");
    }
  }
  VERDICT_RETURN_IF_ERROR(CheckOptimizationLevel(options.optimization_level));
#if NV_TENSORRT_MAJOR < 10
  if (options.bf16) return Unimplemented("bf16: TensorRT has it from 10 on; use fp16");
#endif
#if NV_TENSORRT_MAJOR >= 11
  const bool calibrates = options.int8 && !HasOperator(graph, "QuantizeLinear");
  if (options.fp16 || options.bf16 || calibrates) {
    return Unimplemented(
        "TensorRT 11 takes types from the graph alone: build the engine with its own fp16, bf16 or "
        "int8, which put them there");
  }
#endif
  return OkStatus();
}

void SetPrecision([[maybe_unused]] const Graph& graph, const DeviceBuildOptions& options,
                  nvinfer1::IBuilderConfig& config) {
  if (!options.tf32) config.clearFlag(nvinfer1::BuilderFlag::kTF32);
#if NV_TENSORRT_MAJOR < 11
  config.setFlag(nvinfer1::BuilderFlag::kPREFER_PRECISION_CONSTRAINTS);  // see KeepFloat32
  // Tensors of the narrow types need the flags, whatever the options say.
  if (options.fp16 || HasType(graph, DataType::kFloat16)) {
    config.setFlag(nvinfer1::BuilderFlag::kFP16);
  }
  if (options.int8 || HasOperator(graph, "QuantizeLinear")) {
    config.setFlag(nvinfer1::BuilderFlag::kINT8);
  }
#endif
#if NV_TENSORRT_MAJOR == 10
  if (options.bf16 || HasType(graph, DataType::kBFloat16)) {
    config.setFlag(nvinfer1::BuilderFlag::kBF16);
  }
#endif
}

Status SetConfig(const Graph& graph, const DeviceBuildOptions& options,
                 nvinfer1::IBuilderConfig& config) {
  SetPrecision(graph, options, config);
  VERDICT_ASSIGN_OR_RETURN(const auto pools, ParseMemoryPools(options.memory_pools));
  for (const auto& [pool, bytes] : pools) config.setMemoryPoolLimit(pool, bytes);
  VERDICT_ASSIGN_OR_RETURN(const nvinfer1::TacticSources sources,
                           ParseTacticSources(options.tactic_sources,
                                              WithoutMissingLibraries(config.getTacticSources())));
  if (!config.setTacticSources(sources))
    return InvalidArgument("TensorRT refuses these tactic sources");
#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 806
  if (options.optimization_level >= 0) {
    config.setBuilderOptimizationLevel(options.optimization_level);
  }
#endif
  if (options.refittable) config.setFlag(nvinfer1::BuilderFlag::kREFIT);
  config.setProfilingVerbosity(options.detailed_layers
                                   ? nvinfer1::ProfilingVerbosity::kDETAILED
                                   : nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY);
  return OkStatus();
}

/// The builder owns its profiles. Returns the first one.
Result<nvinfer1::IOptimizationProfile*> AddProfiles(std::span<const Profile> profiles,
                                                    nvinfer1::IBuilder& builder,
                                                    nvinfer1::IBuilderConfig& config,
                                                    Logger& logger) {
  nvinfer1::IOptimizationProfile* first = nullptr;
  for (const Profile& ours : profiles) {
    nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
    if (profile == nullptr) return TensorRtError("making an optimization profile", logger);
    if (first == nullptr) first = profile;
    for (size_t i = 0; i < ours.inputs.size(); ++i) {
      const std::string name = InputName(i);
      const InputRange& range = ours.inputs[i];
      using Corner = nvinfer1::OptProfileSelector;
      if (!profile->setDimensions(name.c_str(), Corner::kMIN, ToDims(range.min)) ||
          !profile->setDimensions(name.c_str(), Corner::kOPT, ToDims(range.opt)) ||
          !profile->setDimensions(name.c_str(), Corner::kMAX, ToDims(range.max))) {
        return TensorRtError("an optimization profile, input '" + range.name + "'", logger);
      }
    }
    if (config.addOptimizationProfile(profile) < 0) {
      return TensorRtError("adding an optimization profile", logger);
    }
  }
  return first;
}

/// A cache of another version or card is not an error: the build measures anew. Null if there is no
/// cache.
Result<Deleted<nvinfer1::ITimingCache>> SetTimingCache(const DeviceCore& core,
                                                       const std::vector<std::byte>* bytes,
                                                       nvinfer1::IBuilderConfig& config,
                                                       Logger& logger) {
  if (bytes == nullptr) return Deleted<nvinfer1::ITimingCache>();
  Deleted<nvinfer1::ITimingCache> cache(config.createTimingCache(bytes->data(), bytes->size()));
  if (cache == nullptr || !config.setTimingCache(*cache, false)) {
    core.Log("the timing cache is not of this TensorRT and card, or damaged; a new one is begun: " +
             logger.TakeErrors());
    cache.reset(config.createTimingCache(nullptr, 0));
    if (cache == nullptr || !config.setTimingCache(*cache, false)) {
      return TensorRtError("making a timing cache", logger);
    }
  }
  return cache;
}

std::span<const std::byte> Bytes(const nvinfer1::IHostMemory& memory) {
  return {static_cast<const std::byte*>(memory.data()), memory.size()};
}

}  // namespace

Result<DeviceBlob> BuildEngine(DeviceCore& core, const Graph& graph,
                               std::span<const Profile> profiles,
                               const DeviceBuildOptions& options) {
  VERDICT_RETURN_IF_ERROR(CheckOptions(graph, profiles, options));
  VERDICT_RETURN_IF_ERROR(core.context->MakeCurrent());
  Logger& logger = core.logger;
  const BuildLog build_log(logger, options.log);
  // Kept: making one loads hundreds of megabytes of kernels.
  if (core.builder == nullptr) core.builder = Own(core.library.NewBuilder(logger), *core.context);
  nvinfer1::IBuilder* const builder = core.builder.get();
  if (builder == nullptr) return TensorRtError("making a builder", logger);
#if NV_TENSORRT_MAJOR < 10
  const nvinfer1::NetworkDefinitionCreationFlags flags =
      1U << static_cast<unsigned>(nvinfer1::NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#else
  const nvinfer1::NetworkDefinitionCreationFlags flags = 0;
#endif
  NetworkStorage storage;  // outlives the network
  const Deleted<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(flags));
  const Deleted<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  if (network == nullptr || config == nullptr) return TensorRtError("making a network", logger);
  VERDICT_RETURN_IF_ERROR(SetConfig(graph, options, *config));
  NetworkOptions network_options;
  network_options.name_weights = options.refittable;
  network_options.keep_inputs_float32 = options.fp16 || options.bf16 || options.int8;
  network_options.parser_forms = core.trials.parser_forms != 0;
  VERDICT_RETURN_IF_ERROR(BuildNetwork(graph, network_options, *network, storage));

  PlanHeader header = core.HeaderHere();
  header.graph_hash = GraphHash(graph);
  header.profiles_hash = ProfilesHash(profiles);
  header.refittable = options.refittable;
  if (options.refittable) header.constants = ConstantSums(graph);
  nvinfer1::IOptimizationProfile* first_profile = nullptr;
  if (HasOpenShapes(graph)) {
    VERDICT_ASSIGN_OR_RETURN(first_profile, AddProfiles(profiles, *builder, *config, logger));
  }
  DeviceBlob blob;
#if NV_TENSORRT_MAJOR < 11
  std::unique_ptr<Calibrator> calibrator;
  if (options.int8 && !HasOperator(graph, "QuantizeLinear")) {
    VERDICT_ASSIGN_OR_RETURN(calibrator,
                             Calibrator::Make(*core.context, graph, profiles[0], options.samples,
                                              options.calibration_cache));
    config->setInt8Calibrator(calibrator.get());
    if (first_profile != nullptr && !config->setCalibrationProfile(first_profile)) {
      return TensorRtError("setting the calibration profile", logger);
    }
  }
#else
  static_cast<void>(first_profile);
#endif
  VERDICT_ASSIGN_OR_RETURN(const auto cache,
                           SetTimingCache(core, options.timing_cache, *config, logger));
  const Deleted<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
#if NV_TENSORRT_MAJOR < 11
  if (calibrator != nullptr) {
    VERDICT_RETURN_IF_ERROR(calibrator->status());
    blob.calibration_cache = calibrator->cache();
  }
#endif
  if (plan == nullptr || plan->size() == 0) {
    Status status = TensorRtError("building", logger);
    // What only loses the context leaves no other trace here.
    const CUresult result = core.context->driver().cuStreamQuery(nullptr);
    if (IsSticky(result)) return core.context->Check(result, "building");
    return status;
  }
  if (options.timing_cache != nullptr && config->getTimingCache() != nullptr) {
    const Deleted<nvinfer1::IHostMemory> text(config->getTimingCache()->serialize());
    if (text != nullptr) {
      options.timing_cache->assign(Bytes(*text).begin(), Bytes(*text).end());
    }
  }
  blob.bytes = WritePlanFile(header, Bytes(*plan));
  return blob;
}

}  // namespace verdict::tensorrt
