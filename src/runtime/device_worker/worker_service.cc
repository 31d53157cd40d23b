#include "runtime/device_worker/worker_service.h"

#include <condition_variable>
#include <exception>
#include <new>

#include "backends/device/device_plugin.h"
#include "engine/engine_file.h"

namespace verdict {
namespace {

constexpr std::chrono::milliseconds kPulse{200};

Status CheckPayloads(std::span<const Descriptor> payloads, size_t wanted) {
  if (payloads.size() == wanted) return OkStatus();
  return DataLoss("a call to the device worker came with " + std::to_string(payloads.size()) +
                  " payloads, not " + std::to_string(wanted));
}

Result<GraphContents> ReadGraphPayload(const Descriptor& descriptor) {
  VERDICT_ASSIGN_OR_RETURN(Payload payload, MapPayload(descriptor));
  return ParseSerializedGraph(payload.bytes, payload.owner);
}

Result<std::vector<MailboxPlace>> ReadPlaces(
    const google::protobuf::RepeatedPtrField<proto::MailboxPlace>& messages) {
  std::vector<MailboxPlace> places;
  for (const proto::MailboxPlace& message : messages) {
    places.push_back({DataTypeFromName(message.dtype()), message.capacity()});
  }
  return places;
}

Status CheckSample(const Graph& graph, std::span<const Constant> sample) {
  if (sample.size() != graph.inputs.size()) {
    return InvalidArgument("a sample has " + std::to_string(sample.size()) + " tensors for " +
                           std::to_string(graph.inputs.size()) + " inputs");
  }
  for (size_t i = 0; i < sample.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    if (sample[i].dtype != input.dtype || sample[i].shape.rank() != input.shape.rank()) {
      return InvalidArgument("a sample of input '" + input.name + "' is of another type or rank");
    }
  }
  return OkStatus();
}

/// A lock that one thread may take and another let go of.
class Turn {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [this] { return !taken_; });
    taken_ = true;
  }
  void unlock() {
    const std::scoped_lock lock(mutex_);
    taken_ = false;
    freed_.notify_one();  // under the lock: the turn may be gone after it
  }

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  bool taken_ = false;
};

/// Libraries' exceptions end here.
template <typename Function>
Status Guarded(const Function& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("the device worker has no memory left");
  } catch (const std::exception& error) {
    return Internal(std::string("the device worker: ") + error.what());
  }
}

}  // namespace

struct WorkerService::Runner final : RunWatch::Run {
  explicit Runner(const Device& device) : device(device) {}

  /// Returns: false if no run is going on now.
  bool StartRun();
  bool HasEnded() override;
  void End() override;
  void Answer(const Status& status) {
    mailbox->FinishRun(status, !status.ok() && device.lost());
    turn.unlock();
  }

  const Device& device;
  Turn turn;                         // held from a run's start to its end, and to close it
  std::unique_ptr<Mailbox> mailbox;  // outlives the runner, which reads it where it is
  std::shared_ptr<DeviceProgram> program;
  std::unique_ptr<DeviceRunner> runner;
  std::vector<TensorView> inputs;
};

WorkerService::~WorkerService() {
  pulse_thread_ = {};  // ends it
  if (shared_ != nullptr) shared_->board.End();
  for (std::thread& thread : run_threads_) thread.join();
  runners_ = {};  // before the programs, and those before the device
  programs_.clear();
}

void WorkerService::HoldLifeline() {
  const std::scoped_lock lock(mutex_);
  if (shared_ != nullptr) shared_->lifeline.Hold();
}

void WorkerService::Handle(const proto::WorkerRequest& request,
                           std::span<const Descriptor> payloads) {
  Answer answer;
  const Status status = Guarded([&] { return Dispatch(request, payloads, answer); });
  if (!status.ok()) {
    answer.payloads.clear();
    WriteStatus(status, *answer.reply.mutable_status());
  }
  answer.reply.set_id(request.id());
  if (const auto opened = device(); opened.ok()) answer.reply.set_lost((*opened)->lost());
  send_(answer.reply, answer.payloads);
}

Status WorkerService::Dispatch(const proto::WorkerRequest& request,
                               std::span<const Descriptor> payloads, Answer& answer) {
  if (request.call_case() == proto::WorkerRequest::kOpen) {
    return OpenDevice(request.open(), payloads, answer);
  }
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  switch (request.call_case()) {
    case proto::WorkerRequest::kSupports:
      return Supports(payloads, answer);
    case proto::WorkerRequest::kBuild:
      return Build(request.id(), request.build(), payloads, answer);
    case proto::WorkerRequest::kLoad:
      return Load(request.load(), payloads, answer);
    case proto::WorkerRequest::kRefit:
      return Refit(payloads, answer);
    case proto::WorkerRequest::kNewRunner:
      return NewRunner(request.new_runner(), payloads);
    case proto::WorkerRequest::kProfile:
      return Profile(request.profile(), payloads, answer);
    case proto::WorkerRequest::kCloseProgram:
      return CloseProgram(request.close_program());
    case proto::WorkerRequest::kCloseRunner:
      return CloseRunner(request.close_runner());
    case proto::WorkerRequest::kLayerInformation: {
      VERDICT_ASSIGN_OR_RETURN(const auto program, FindProgram(request.layer_information()));
      VERDICT_ASSIGN_OR_RETURN(*answer.reply.mutable_text(), program->LayerInformation());
      return OkStatus();
    }
    case proto::WorkerRequest::kDeviceBytes: {
      VERDICT_ASSIGN_OR_RETURN(const auto program, FindProgram(request.device_bytes()));
      answer.reply.set_device_bytes(program->device_bytes());
      return OkStatus();
    }
    case proto::WorkerRequest::kMemory: {
      VERDICT_ASSIGN_OR_RETURN(const DeviceMemory memory, device->memory());
      answer.reply.set_free_bytes(memory.free_bytes);
      answer.reply.set_total_bytes(memory.total_bytes);
      answer.reply.set_shared_bytes(memory.shared_bytes);
      return OkStatus();
    }
    case proto::WorkerRequest::kInjectFault:
      return device->InjectFault(request.inject_fault());
    default:
      return DataLoss("the device worker does not know this call");
  }
}

Result<Device*> WorkerService::device() {
  const std::scoped_lock lock(mutex_);
  if (device_ == nullptr) return FailedPrecondition("the device worker has not opened a device");
  return device_.get();
}

Status WorkerService::OpenDevice(const proto::OpenCall& call, std::span<const Descriptor> payloads,
                                 Answer& answer) {
  if (call.protocol() != kWorkerProtocolVersion || call.build_id() != DeviceBuildId()) {
    return FailedPrecondition("the device worker is of another build (protocol " +
                              std::to_string(kWorkerProtocolVersion) + ", " + DeviceBuildId() +
                              ") than the program that started it (protocol " +
                              std::to_string(call.protocol()) + ", " + call.build_id() +
                              "); install both from one build");
  }
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 1));
  if (device().ok()) return FailedPrecondition("the device worker has opened its device already");
  VERDICT_ASSIGN_OR_RETURN(SharedPages pages, SharedPages::Map(payloads[0], sizeof(SharedState)));
  DeviceOptions options;
  options.index = call.index();
  options.run_timeout_ms = call.run_timeout_ms();
  options.spin_us = call.device_spin_us();
  options.log = [this](const std::string& line) { SendLog(0, line); };
  VERDICT_ASSIGN_OR_RETURN(auto device, open_(call.backend(), call.plugin_folder(), options));
  WriteInfo(device->info(), *answer.reply.mutable_info());
  const std::scoped_lock lock(mutex_);
  if (device_ != nullptr) return FailedPrecondition("the device worker was opened twice");
  shared_pages_ = std::move(pages);
  shared_ = reinterpret_cast<SharedState*>(shared_pages_.data());
  board_watch_ = {call.spin_us(), call.spinners()};
  run_watch_.emplace(RunBoard::kSlots, std::chrono::microseconds(call.device_spin_us()));
  device_ = std::move(device);
  pulse_thread_ = std::jthread([this](const std::stop_token& stop) { Beat(stop); });
  return OkStatus();
}

void WorkerService::Beat(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    ++shared_->pulse;
    never.wait_for(lock, stop, kPulse, [] { return false; });
  }
}

Status WorkerService::Supports(std::span<const Descriptor> payloads, Answer& answer) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 1));
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  VERDICT_ASSIGN_OR_RETURN(const GraphContents contents, ReadGraphPayload(payloads[0]));
  for (const Node& node : contents.graph.nodes) {
    WriteStatus(device->Supports(contents.graph, node), *answer.reply.add_supports());
  }
  return OkStatus();
}

Status WorkerService::Build(uint64_t id, const proto::BuildCall& call,
                            std::span<const Descriptor> payloads, Answer& answer) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 3));
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  VERDICT_ASSIGN_OR_RETURN(const GraphContents contents, ReadGraphPayload(payloads[0]));
  VERDICT_ASSIGN_OR_RETURN(const Payload samples_payload, MapPayload(payloads[1]));
  VERDICT_ASSIGN_OR_RETURN(const Payload cache_payload, MapPayload(payloads[2]));
  std::vector<std::vector<Constant>> samples;
  for (const proto::WorkerTensors& sample : call.samples()) {
    VERDICT_ASSIGN_OR_RETURN(samples.emplace_back(),
                             ReadTensors(sample, samples_payload.bytes, samples_payload.owner));
    VERDICT_RETURN_IF_ERROR(CheckSample(contents.graph, samples.back()));
  }
  DeviceBuildOptions options = ReadBuildOptions(call);
  options.samples = samples;
  std::vector<std::byte> timing_cache(cache_payload.bytes.begin(), cache_payload.bytes.end());
  if (call.timing_cache()) options.timing_cache = &timing_cache;
  if (call.log()) options.log = [this, id](const std::string& line) { SendLog(id, line); };
  VERDICT_ASSIGN_OR_RETURN(const DeviceBlob blob,
                           device->Build(contents.graph, contents.profiles, options));
  answer.reply.set_text(blob.calibration_cache);
  VERDICT_ASSIGN_OR_RETURN(answer.payloads.emplace_back(), MakePayload(blob.bytes));
  VERDICT_ASSIGN_OR_RETURN(answer.payloads.emplace_back(), MakePayload(timing_cache));
  return OkStatus();
}

Status WorkerService::Load(const proto::LoadCall& call, std::span<const Descriptor> payloads,
                           Answer& answer) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 2));
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  VERDICT_ASSIGN_OR_RETURN(const GraphContents contents, ReadGraphPayload(payloads[0]));
  VERDICT_ASSIGN_OR_RETURN(const Payload bytes, MapPayload(payloads[1]));
  VERDICT_ASSIGN_OR_RETURN(auto program,
                           device->Load(bytes.bytes, contents.graph, contents.profiles));
  answer.reply.set_device_bytes(program->device_bytes());
  const std::scoped_lock lock(mutex_);
  if (!programs_.emplace(call.program(), std::move(program)).second) {
    return DataLoss("the device worker has program " + std::to_string(call.program()) + " already");
  }
  return OkStatus();
}

Status WorkerService::Refit(std::span<const Descriptor> payloads, Answer& answer) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 2));
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  VERDICT_ASSIGN_OR_RETURN(const GraphContents contents, ReadGraphPayload(payloads[0]));
  VERDICT_ASSIGN_OR_RETURN(const Payload bytes, MapPayload(payloads[1]));
  VERDICT_ASSIGN_OR_RETURN(const auto refitted, device->Refit(bytes.bytes, contents.graph));
  VERDICT_ASSIGN_OR_RETURN(answer.payloads.emplace_back(), MakePayload(refitted));
  return OkStatus();
}

Status WorkerService::NewRunner(const proto::NewRunnerCall& call,
                                std::span<const Descriptor> payloads) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 1));
  if (call.slot() >= runners_.size()) return DataLoss("the device worker has no such slot");
  VERDICT_ASSIGN_OR_RETURN(auto inputs, ReadPlaces(call.inputs()));
  VERDICT_ASSIGN_OR_RETURN(auto outputs, ReadPlaces(call.outputs()));
  VERDICT_ASSIGN_OR_RETURN(DeviceRunnerOptions options, ReadRunnerOptions(call));
  VERDICT_ASSIGN_OR_RETURN(Device* const device, this->device());
  auto added = std::make_shared<Runner>(*device);
  VERDICT_ASSIGN_OR_RETURN(added->program, FindProgram(call.program()));
  VERDICT_ASSIGN_OR_RETURN(Mailbox mailbox,
                           Mailbox::Map(payloads[0], std::move(inputs), std::move(outputs)));
  added->mailbox = std::make_unique<Mailbox>(std::move(mailbox));
  added->inputs.resize(added->mailbox->inputs().size());
  options.caller_memory = added->mailbox->memory();
  for (size_t i = 0; i < added->inputs.size(); ++i) {
    options.caller_places.push_back(added->mailbox->InputPlace(i));
  }
  VERDICT_ASSIGN_OR_RETURN(added->runner, added->program->NewRunner(options));
  const std::scoped_lock lock(mutex_);
  if (runners_[call.slot()] != nullptr) {
    return DataLoss("the device worker's slot " + std::to_string(call.slot()) + " is taken");
  }
  if (num_runners_ == run_threads_.size()) run_threads_.emplace_back([this] { ServeRuns(); });
  runners_[call.slot()] = std::move(added);
  ++num_runners_;
  return OkStatus();
}

Status WorkerService::Profile(const proto::ProfileCall& call, std::span<const Descriptor> payloads,
                              Answer& answer) {
  VERDICT_RETURN_IF_ERROR(CheckPayloads(payloads, 1));
  VERDICT_ASSIGN_OR_RETURN(const Payload payload, MapPayload(payloads[0]));
  VERDICT_ASSIGN_OR_RETURN(const auto tensors,
                           ReadTensors(call.inputs(), payload.bytes, payload.owner));
  const std::shared_ptr<Runner> runner = FindRunner(call.slot());
  if (runner == nullptr) return DataLoss("the device worker has no such runner");
  std::vector<TensorView> views;
  for (const Constant& tensor : tensors) views.push_back(tensor.view());
  const std::scoped_lock lock(runner->turn);
  if (runner->runner == nullptr) return DataLoss("the device worker's runner is closed");
  VERDICT_ASSIGN_OR_RETURN(const auto times, runner->runner->ProfileLayers(views));
  for (const LayerTime& time : times) {
    proto::WorkerLayerTime& message = *answer.reply.add_layer_times();
    message.set_layer(time.layer);
    message.set_milliseconds(time.milliseconds);
  }
  return OkStatus();
}

Status WorkerService::CloseProgram(uint64_t id) {
  std::shared_ptr<DeviceProgram> closed;  // ends outside of the lock
  const std::scoped_lock lock(mutex_);
  if (const auto found = programs_.find(id); found != programs_.end()) {
    closed = std::move(found->second);
    programs_.erase(found);
  }
  return OkStatus();
}

Status WorkerService::CloseRunner(uint64_t slot) {
  std::shared_ptr<Runner> closed;
  if (slot < runners_.size()) {
    const std::scoped_lock lock(mutex_);
    closed = std::move(runners_[slot]);
    if (closed != nullptr) --num_runners_;
  }
  if (closed == nullptr) return OkStatus();
  // Here, since a thread that has just served its last run may hold it a moment longer.
  const std::scoped_lock lock(closed->turn);
  closed->runner.reset();
  closed->program.reset();
  return OkStatus();
}

Result<std::shared_ptr<DeviceProgram>> WorkerService::FindProgram(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  const auto found = programs_.find(id);
  if (found == programs_.end()) {
    return DataLoss("the device worker has no program " + std::to_string(id));
  }
  return found->second;
}

std::shared_ptr<WorkerService::Runner> WorkerService::FindRunner(uint64_t slot) {
  const std::scoped_lock lock(mutex_);
  return slot < runners_.size() ? runners_[slot] : nullptr;
}

void WorkerService::SendLog(uint64_t id, const std::string& line) {
  proto::WorkerReply reply;
  reply.set_id(id);
  reply.set_is_log(true);
  reply.set_text(line);
  send_(reply, {});
}

void WorkerService::ServeRuns() {
  while (const auto slot = shared_->board.Take(board_watch_)) {
    std::shared_ptr<Runner> runner = FindRunner(*slot);
    if (runner != nullptr && runner->StartRun()) run_watch_->Watch(std::move(runner));
  }
}

bool WorkerService::Runner::StartRun() {
  turn.lock();
  if (runner == nullptr) {
    turn.unlock();
    return false;
  }
  const Status status = Guarded([&]() -> Status {
    for (size_t i = 0; i < inputs.size(); ++i) {
      VERDICT_ASSIGN_OR_RETURN(inputs[i], mailbox->Input(i));
    }
    return runner->Start(inputs);
  });
  if (!status.ok()) Answer(status);
  return status.ok();
}

bool WorkerService::Runner::HasEnded() {
  bool ended = true;  // also where it cannot be told: Finish says why
  static_cast<void>(Guarded([&] {
    ended = runner->Wait({});
    return OkStatus();
  }));
  return ended;
}

void WorkerService::Runner::End() {
  Answer(Guarded([&]() -> Status {
    VERDICT_ASSIGN_OR_RETURN(const auto outputs, runner->Finish());
    if (outputs.size() != mailbox->outputs().size()) {
      return Internal("the device has made " + std::to_string(outputs.size()) +
                      " outputs for a program of " + std::to_string(mailbox->outputs().size()));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      VERDICT_RETURN_IF_ERROR(mailbox->PutOutput(i, outputs[i]));
    }
    return OkStatus();
  }));
}

}  // namespace verdict
