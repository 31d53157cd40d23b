#include <algorithm>
#include <deque>
#include <set>

#include "backends/tensorrt/engine_builder.h"
#include "backends/tensorrt/engine_tensors.h"
#include "backends/tensorrt/network_context.h"

namespace verdict::tensorrt {
namespace {

constexpr std::string_view kWeightsPrefix = "value:";

std::string WeightsName(ValueId id) { return std::string(kWeightsPrefix) + std::to_string(id); }

/// Names of the engine's weights that can be given anew.
std::set<std::string> NamesOf(nvinfer1::IRefitter& refitter) {
  const int32_t count = std::max(0, refitter.getAllWeights(0, nullptr));
  std::vector<const char*> names(static_cast<size_t>(count), nullptr);
  refitter.getAllWeights(count, names.data());
  std::set<std::string> set;
  for (const char* name : names) {
    if (name != nullptr) set.insert(name);
  }
  return set;
}

/// The constant as BuildNetwork hands it to TensorRT. storage: holds what had to be converted.
Result<nvinfer1::Weights> WeightsOf(const Constant& constant,
                                    std::deque<std::vector<std::byte>>& storage) {
  VERDICT_ASSIGN_OR_RETURN(const nvinfer1::DataType type, DeviceType(constant.dtype));
  VERDICT_ASSIGN_OR_RETURN(const Conversion conversion, ConversionOf(constant.dtype, type));
  const int64_t count = constant.view().size();
  if (conversion == Conversion::kNone) return nvinfer1::Weights{type, constant.data, count};
  storage.emplace_back(static_cast<size_t>(count) * DeviceElementSize(constant.dtype, conversion));
  VERDICT_RETURN_IF_ERROR(
      CopyToDeviceForm(constant.data, constant.dtype, conversion, count, storage.back().data()));
  return nvinfer1::Weights{type, storage.back().data(), count};
}

Status SetWeights(nvinfer1::IRefitter& refitter, const PlanHeader& header, const Graph& graph,
                  const std::vector<PlanHeader::ConstantSum>& sums,
                  std::deque<std::vector<std::byte>>& storage, Logger& logger) {
  const std::set<std::string> names = NamesOf(refitter);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].value != header.constants[i].value) {
      return FailedPrecondition("refit: the graph has other constants than the program");
    }
    const Value& value = graph.value(sums[i].value);
    const std::string name = WeightsName(sums[i].value);
    if (!names.contains(name)) {
      if (sums[i] == header.constants[i]) continue;
      return FailedPrecondition("refit: the program has folded the constant '" + value.name +
                                "' away; build it again");
    }
    VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Weights weights, WeightsOf(*value.constant, storage));
    if (!refitter.setNamedWeights(name.c_str(), weights)) {
      Status status = TensorRtError("refit: the constant '" + value.name + "'", logger);
      return FailedPrecondition(status.message());
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<std::byte>> RefitEngine(DeviceCore& core, std::span<const std::byte> bytes,
                                           const Graph& graph) {
  VERDICT_ASSIGN_OR_RETURN(const PlanFile file, ParsePlanFile(bytes));
  PlanHeader header = core.HeaderHere();
  header.graph_hash = GraphHash(graph);
  header.profiles_hash = file.header.profiles_hash;  // not asked for here
  VERDICT_RETURN_IF_ERROR(CheckPlanHeader(file.header, header));
  if (!file.header.refittable) {
    return FailedPrecondition("refit: the program was not built as refittable");
  }
  header.refittable = true;
  header.constants = ConstantSums(graph);
  if (header.constants.size() != file.header.constants.size()) {
    return FailedPrecondition("refit: the graph has other constants than the program");
  }
  CudaContext& context = *core.context;
  VERDICT_RETURN_IF_ERROR(context.MakeCurrent());
  Logger& logger = core.logger;
  logger.TakeErrors();  // older ones
  std::deque<std::vector<std::byte>> storage;
  const auto runtime = Own(core.library.NewRuntime(logger), context);
  if (runtime == nullptr) return TensorRtError("making a runtime", logger);
  const auto engine =
      Own(runtime->deserializeCudaEngine(file.plan.data(), file.plan.size()), context);
  if (engine == nullptr) return TensorRtError("refit: loading the program", logger);
  const auto refitter = Own(core.library.NewRefitter(*engine, logger), context);
  if (refitter == nullptr) return TensorRtError("refit", logger);
  VERDICT_RETURN_IF_ERROR(
      SetWeights(*refitter, file.header, graph, header.constants, storage, logger));
  if (const int32_t missing = refitter->getMissingWeights(0, nullptr); missing > 0) {
    return FailedPrecondition("refit: TensorRT asks for " + std::to_string(missing) +
                              " weights that are no constants of the graph; build it again");
  }
  if (!refitter->refitCudaEngine()) return TensorRtError("refit", logger);
  const auto plan = Own(engine->serialize(), context);
  if (plan == nullptr) return TensorRtError("refit: writing the program", logger);
  return WritePlanFile(header, {static_cast<const std::byte*>(plan->data()), plan->size()});
}

}  // namespace verdict::tensorrt
