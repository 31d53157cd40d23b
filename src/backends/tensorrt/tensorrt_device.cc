#include "backends/tensorrt/tensorrt_device.h"

#include <cstdlib>
#include <utility>

#include "backends/tensorrt/engine_builder.h"
#include "backends/tensorrt/network_builder.h"
#include "backends/tensorrt/program.h"

namespace verdict::tensorrt {

Result<std::unique_ptr<Device>> TensorRtDevice::Open(const DeviceOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const CudaDriver* driver, OpenCudaDriver());
  VERDICT_ASSIGN_OR_RETURN(const TensorRtLibrary* library, TensorRtLibrary::Open());
  auto core = std::make_shared<DeviceCore>(*library, options);
  const char* const trials = std::getenv("VERDICT_TENSORRT_TRIALS");
  VERDICT_ASSIGN_OR_RETURN(core->trials, ParseTrials(trials == nullptr ? "" : trials));
  VERDICT_ASSIGN_OR_RETURN(core->context,
                           CudaContext::Open(*driver, options.index, core->trials.stack_bytes));
  core->lanes = std::make_unique<ScratchLanes>(*core->context);
  VERDICT_ASSIGN_OR_RETURN(const DeviceMemory memory, core->context->Memory());
  std::unique_ptr<TensorRtDevice> device(new TensorRtDevice(std::move(core)));
  const CudaContext& context = *device->core_->context;
  DeviceInfo& info = device->info_;
  info.backend = "tensorrt";
  info.name = context.Name();
  info.fingerprint = "tensorrt " + library->version().text() + " sm_" +
                     std::to_string(context.sm()) + " driver " + driver->driver_version;
  info.versions = "TensorRT " + library->version().text() + ", CUDA driver " +
                  std::to_string(driver->version / 1000) + "." +
                  std::to_string(driver->version % 1000 / 10) + ", " + driver->driver_version;
  info.uuid = context.Uuid();
  info.index = options.index;
  info.memory_bytes = memory.total_bytes;
  return std::unique_ptr<Device>(std::move(device));
}

Status TensorRtDevice::Supports(const Graph& graph, const Node& node) const {
  return SupportsNode(graph, node);
}

Result<DeviceBlob> TensorRtDevice::Build(const Graph& graph, std::span<const Profile> profiles,
                                         const DeviceBuildOptions& options) {
  const std::lock_guard lock(core_->turns);
  return BuildEngine(*core_, graph, profiles, options);
}

Result<std::shared_ptr<DeviceProgram>> TensorRtDevice::Load(std::span<const std::byte> bytes,
                                                            const Graph& graph,
                                                            std::span<const Profile> profiles) {
  const bool refuse_memory = refuse_next_load_.exchange(false);
  VERDICT_ASSIGN_OR_RETURN(const PlanFile file, ParsePlanFile(bytes));
  PlanHeader here = core_->HeaderHere();
  here.graph_hash = GraphHash(graph);
  here.profiles_hash = ProfilesHash(profiles);
  VERDICT_RETURN_IF_ERROR(CheckPlanHeader(file.header, here));
  const std::lock_guard lock(core_->turns);
  VERDICT_ASSIGN_OR_RETURN(auto program,
                           Program::Load(core_, file, graph, profiles, refuse_memory));
  return std::shared_ptr<DeviceProgram>(std::move(program));
}

Result<std::vector<std::byte>> TensorRtDevice::Refit(std::span<const std::byte> bytes,
                                                     const Graph& graph) {
  const std::lock_guard lock(core_->turns);
  return RefitEngine(*core_, bytes, graph);
}

Result<DeviceMemory> TensorRtDevice::memory() const {
  VERDICT_ASSIGN_OR_RETURN(DeviceMemory memory, core_->context->Memory());
  memory.shared_bytes = core_->lanes->bytes();
  return memory;
}

Status TensorRtDevice::Recover() {
  // Measured with 8.5.3: whoever loads TensorRT's programs again after a loss, in another context
  // of the same process, crashes within its libraries.
  return Unimplemented(
      "TensorRT does not come back in a process whose device was lost: start the process again, or "
      "have the device in a worker process (device.isolation: process)");
}

Status TensorRtDevice::InjectFault(const std::string& kind) {
  if (kind == "trap") return core_->context->Trap();
  if (kind == "hang") return core_->context->Hang();
  if (kind == "oom") {
    refuse_next_load_ = true;
    return OkStatus();
  }
  return InvalidArgument("no fault '" + kind + "': there are trap, hang and oom");
}

}  // namespace verdict::tensorrt
