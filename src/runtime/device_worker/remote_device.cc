#include "runtime/device_worker/remote_device.h"

#include <algorithm>
#include <array>
#include <optional>

#include "engine/engine_file.h"
#include "runtime/device_worker/remote_program.h"
#include "runtime/device_worker/worker_process.h"

namespace verdict {
namespace {

using std::chrono::milliseconds;

Result<Descriptor> GraphPayload(const Graph& graph, std::span<const Profile> profiles) {
  VERDICT_ASSIGN_OR_RETURN(const auto bytes, SerializeGraph(graph, profiles));
  return MakePayload(bytes);
}

/// True if the graphs are the same and share their constants.
bool Same(const Graph& a, const Graph& b) {
  if (a.inputs != b.inputs || a.outputs != b.outputs || a.num_values() != b.num_values() ||
      a.nodes.size() != b.nodes.size()) {
    return false;
  }
  for (ValueId id = 0; id < a.num_values(); ++id) {
    const Value& left = a.value(id);
    const Value& right = b.value(id);
    if (left.constant != right.constant || left.dtype != right.dtype ||
        !(left.shape == right.shape) || left.name != right.name) {
      return false;
    }
  }
  return std::ranges::equal(a.nodes, b.nodes, [](const Node& left, const Node& right) {
    return left.op == right.op && left.inputs == right.inputs && left.outputs == right.outputs &&
           left.attributes == right.attributes && left.name == right.name;
  });
}

class RemoteDevice : public Device {
 public:
  RemoteDevice(std::string backend, std::string plugin_folder, DeviceOptions device,
               const WorkerOptions& options)
      : backend_(std::move(backend)),
        plugin_folder_(std::move(plugin_folder)),
        device_(std::move(device)),
        options_(options) {
    times_.run_timeout =
        milliseconds(device_.run_timeout_ms) + milliseconds(options.hang_margin_ms);
    times_.call_timeout = milliseconds(options.call_timeout_ms);
    times_.spin = std::chrono::microseconds(device_.spin_us);
  }

  Status Open() {
    VERDICT_ASSIGN_OR_RETURN(
        worker_, WorkerProcess::Start(backend_, plugin_folder_, device_, options_, &info_));
    return OkStatus();
  }

  const DeviceInfo& info() const override { return info_; }

  Status Supports(const Graph& graph, const Node& node) const override {
    const auto index = static_cast<size_t>(&node - graph.nodes.data());
    if (index >= graph.nodes.size()) {
      return InvalidArgument("a node is asked for that is not of the graph");
    }
    // A graph's nodes are asked for one after another: one call answers them all.
    const std::scoped_lock lock(supports_mutex_);
    if (!supports_graph_ || !Same(*supports_graph_, graph)) {
      VERDICT_ASSIGN_OR_RETURN(const Descriptor payload, GraphPayload(graph, {}));
      proto::WorkerRequest request;
      request.mutable_supports();
      VERDICT_ASSIGN_OR_RETURN(
          const auto answer,
          worker()->Call(std::move(request), std::span(&payload, 1), times_.call_timeout));
      if (static_cast<size_t>(answer.reply.supports_size()) != graph.nodes.size()) {
        return Internal("the device worker has answered for another number of nodes");
      }
      supports_.clear();
      for (const auto& status : answer.reply.supports()) supports_.push_back(ReadStatus(status));
      supports_graph_ = graph;
    }
    return supports_[index];
  }

  Result<DeviceBlob> Build(const Graph& graph, std::span<const Profile> profiles,
                           const DeviceBuildOptions& options) override {
    {
      const std::scoped_lock lock(supports_mutex_);
      supports_graph_.reset();  // its constants are not held for ever
    }
    proto::WorkerRequest request;
    proto::BuildCall& call = *request.mutable_build();
    WriteBuildOptions(options, call);
    std::vector<std::byte> samples;
    for (const std::vector<Constant>& sample : options.samples) {
      std::vector<TensorView> views;
      for (const Constant& tensor : sample) views.push_back(tensor.view());
      VERDICT_RETURN_IF_ERROR(WriteTensors(views, *call.add_samples(), samples));
    }
    std::array<Descriptor, 3> payloads;
    VERDICT_ASSIGN_OR_RETURN(payloads[0], GraphPayload(graph, profiles));
    VERDICT_ASSIGN_OR_RETURN(payloads[1], MakePayload(samples));
    VERDICT_ASSIGN_OR_RETURN(payloads[2],
                             MakePayload(options.timing_cache != nullptr
                                             ? std::span<const std::byte>(*options.timing_cache)
                                             : std::span<const std::byte>()));
    const std::scoped_lock turn(turns_);
    VERDICT_ASSIGN_OR_RETURN(
        auto answer, worker()->Call(std::move(request), payloads, std::nullopt, options.log));
    if (answer.payloads.size() != 2) return Internal("the device worker has sent no program");
    DeviceBlob blob;
    VERDICT_ASSIGN_OR_RETURN(blob.bytes, Bytes(answer.payloads[0]));
    blob.calibration_cache = std::move(*answer.reply.mutable_text());
    if (options.timing_cache != nullptr) {
      VERDICT_ASSIGN_OR_RETURN(*options.timing_cache, Bytes(answer.payloads[1]));
    }
    return blob;
  }

  /// With the worker, which builds in a library that cannot be told to stop.
  void AbandonBuild() override { worker()->Lose("nobody wants what it builds any more"); }

  Result<std::shared_ptr<DeviceProgram>> Load(std::span<const std::byte> bytes, const Graph& graph,
                                              std::span<const Profile> profiles) override {
    VERDICT_ASSIGN_OR_RETURN(ProgramInterface interface, ProgramInterface::Of(graph, profiles));
    std::array<Descriptor, 2> payloads;
    VERDICT_ASSIGN_OR_RETURN(payloads[0], GraphPayload(graph, profiles));
    VERDICT_ASSIGN_OR_RETURN(payloads[1], MakePayload(bytes));
    const std::scoped_lock turn(turns_);
    const std::shared_ptr<WorkerProcess> worker = this->worker();
    const uint64_t id = worker->NewProgramId();
    proto::WorkerRequest request;
    request.mutable_load()->set_program(id);
    VERDICT_ASSIGN_OR_RETURN(const auto answer,
                             worker->Call(std::move(request), payloads, times_.call_timeout));
    return std::shared_ptr<DeviceProgram>(std::make_shared<RemoteProgram>(
        worker, id, answer.reply.device_bytes(), std::move(interface), times_));
  }

  Result<std::vector<std::byte>> Refit(std::span<const std::byte> bytes,
                                       const Graph& graph) override {
    std::array<Descriptor, 2> payloads;
    VERDICT_ASSIGN_OR_RETURN(payloads[0], GraphPayload(graph, {}));
    VERDICT_ASSIGN_OR_RETURN(payloads[1], MakePayload(bytes));
    proto::WorkerRequest request;
    request.mutable_refit();
    const std::scoped_lock turn(turns_);
    VERDICT_ASSIGN_OR_RETURN(const auto answer,
                             worker()->Call(std::move(request), payloads, times_.call_timeout));
    if (answer.payloads.size() != 1) return Internal("the device worker has sent no program");
    return Bytes(answer.payloads[0]);
  }

  Result<DeviceMemory> memory() const override {
    proto::WorkerRequest request;
    request.mutable_memory();
    VERDICT_ASSIGN_OR_RETURN(const auto answer,
                             worker()->Call(std::move(request), {}, times_.call_timeout));
    const DeviceMemory memory{answer.reply.free_bytes(), answer.reply.total_bytes(),
                              answer.reply.shared_bytes()};
    if (std::max(memory.free_bytes, memory.shared_bytes) > memory.total_bytes) {
      return Internal("the device worker tells of more memory than its device has");
    }
    return memory;
  }

  bool lost() const override { return worker()->lost(); }

  Status Recover() override {
    const std::scoped_lock recovery(recover_mutex_);
    const std::shared_ptr<WorkerProcess> old = worker();
    old->Lose("it is replaced");
    if (!old->WaitForEnd(milliseconds(options_.call_timeout_ms)) || !old->reaped()) {
      return Unavailable("the device worker (process " + std::to_string(old->pid()) +
                         ") was killed and does not end; the driver may be holding it");
    }
    DeviceInfo info;
    auto started = WorkerProcess::Start(backend_, plugin_folder_, device_, options_, &info);
    if (started.status().code() == StatusCode::kUnimplemented) {
      return Unavailable(started.status().message());  // of that worker: the next one may
    }
    VERDICT_RETURN_IF_ERROR(started.status());
    if (info.fingerprint != info_.fingerprint) {
      return Unavailable("the device has come back as '" + info.fingerprint + "', it was '" +
                         info_.fingerprint + "'; restart the server");
    }
    const std::scoped_lock lock(mutex_);
    worker_ = *std::move(started);
    return OkStatus();
  }

  Status InjectFault(const std::string& kind) override {
    proto::WorkerRequest request;
    request.set_inject_fault(kind);
    const std::shared_ptr<WorkerProcess> worker = this->worker();
    const bool was_lost = worker->lost();
    const Status status = worker->Call(std::move(request), {}, times_.call_timeout).status();
    // A fault may end the worker before it has answered: then it has done what it was asked for.
    return !was_lost && worker->lost() ? OkStatus() : status;
  }

 private:
  std::shared_ptr<WorkerProcess> worker() const {
    const std::scoped_lock lock(mutex_);
    return worker_;
  }

  static Result<std::vector<std::byte>> Bytes(const Descriptor& descriptor) {
    VERDICT_ASSIGN_OR_RETURN(const Payload payload, MapPayload(descriptor));
    return std::vector<std::byte>(payload.bytes.begin(), payload.bytes.end());
  }

  const std::string backend_;
  const std::string plugin_folder_;
  const DeviceOptions device_;
  const WorkerOptions options_;
  RemoteTimes times_;
  DeviceInfo info_;
  std::mutex recover_mutex_;  // one recovery at a time
  /// Builds, loads and refits take turns here, where no clock runs: in the worker one would wait
  /// for another's minutes, and be taken for a call that is not answered.
  std::mutex turns_;

  mutable std::mutex mutex_;  // guards worker_
  std::shared_ptr<WorkerProcess> worker_;

  mutable std::mutex supports_mutex_;  // guards the last graph that Supports was asked about
  mutable std::optional<Graph> supports_graph_;
  mutable std::vector<Status> supports_;
};

}  // namespace

Result<std::unique_ptr<Device>> OpenDeviceInWorker(const std::string& backend,
                                                   const std::string& plugin_folder,
                                                   const DeviceOptions& options,
                                                   const WorkerOptions& worker) {
  auto device = std::make_unique<RemoteDevice>(backend, plugin_folder, options, worker);
  VERDICT_RETURN_IF_ERROR(device->Open());
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace verdict
