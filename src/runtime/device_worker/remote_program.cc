#include "runtime/device_worker/remote_program.h"

#include <algorithm>

#include "ops/infer.h"
#include "plan/profile.h"
#include "runtime/device_worker/remote_runner.h"

namespace verdict {
namespace {

constexpr size_t kCorners = 3;  // min, opt and max, the first of MeasuredShapes

Result<std::vector<ProgramInterface::Tensor>> Tensors(const Graph& graph,
                                                      std::span<const ValueId> ids) {
  std::vector<ProgramInterface::Tensor> tensors;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    if (value.dtype == DataType::kString) {
      return InvalidArgument("'" + value.name + "' holds strings, which devices do not take");
    }
    tensors.push_back({value.name, value.shape, {value.dtype, 0}});
  }
  return tensors;
}

Status Grow(std::vector<ProgramInterface::Tensor>& tensors, std::span<const ValueId> ids,
            std::span<const TensorView> views) {
  for (size_t i = 0; i < ids.size(); ++i) {
    const TensorView& view = views[static_cast<size_t>(ids[i])];
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(tensors[i].place.dtype, view.shape));
    tensors[i].place.capacity = std::max<uint64_t>(tensors[i].place.capacity, bytes);
  }
  return OkStatus();
}

}  // namespace

Result<ProgramInterface> ProgramInterface::Of(const Graph& graph,
                                              std::span<const Profile> profiles) {
  ProgramInterface interface;
  VERDICT_ASSIGN_OR_RETURN(interface.inputs, Tensors(graph, graph.inputs));
  VERDICT_ASSIGN_OR_RETURN(interface.outputs, Tensors(graph, graph.outputs));
  for (const Profile& profile : profiles) {
    const std::vector<std::vector<Shape>> sets = MeasuredShapes(graph, profile);
    for (size_t set = 0; set < sets.size(); ++set) {
      const auto views = ResolveShapes(graph, sets[set]);
      if (!views.ok() && set >= kCorners) continue;  // a model need not accept a mix
      if (!views.ok()) return views.status();
      VERDICT_RETURN_IF_ERROR(Grow(interface.inputs, graph.inputs, *views));
      VERDICT_RETURN_IF_ERROR(Grow(interface.outputs, graph.outputs, *views));
    }
  }
  return interface;
}

RemoteProgram::RemoteProgram(std::shared_ptr<WorkerProcess> worker, uint64_t id,
                             uint64_t device_bytes, ProgramInterface interface,
                             const RemoteTimes& times)
    : worker_(std::move(worker)),
      id_(id),
      interface_(std::make_shared<const ProgramInterface>(std::move(interface))),
      times_(times),
      device_bytes_(device_bytes) {}

RemoteProgram::~RemoteProgram() {
  proto::WorkerRequest request;
  request.set_close_program(id_);
  // Waits, so that its memory is free afterwards. A worker that is gone has let go of it already.
  static_cast<void>(worker_->Call(std::move(request), {}, times_.call_timeout));
}

Result<std::unique_ptr<DeviceRunner>> RemoteProgram::NewRunner(const DeviceRunnerOptions& options) {
  VERDICT_RETURN_IF_ERROR(worker_->Check());
  proto::WorkerRequest request;
  proto::NewRunnerCall& call = *request.mutable_new_runner();
  call.set_program(id_);
  WriteRunnerOptions(options, call);
  const auto add = [](std::span<const ProgramInterface::Tensor> tensors, auto& messages) {
    std::vector<MailboxPlace> places;
    for (const ProgramInterface::Tensor& tensor : tensors) {
      places.push_back(tensor.place);
      proto::MailboxPlace& message = *messages.Add();
      message.set_dtype(std::string(DataTypeName(tensor.place.dtype)));
      message.set_capacity(tensor.place.capacity);
    }
    return places;
  };
  auto inputs = add(interface_->inputs, *call.mutable_inputs());
  auto outputs = add(interface_->outputs, *call.mutable_outputs());
  VERDICT_ASSIGN_OR_RETURN(auto mailbox, Mailbox::Create(std::move(inputs), std::move(outputs)));
  auto runner =
      std::make_unique<RemoteRunner>(worker_, interface_, std::move(mailbox.first), times_);
  VERDICT_RETURN_IF_ERROR(runner->Open(std::move(request), mailbox.second));
  return std::unique_ptr<DeviceRunner>(std::move(runner));
}

uint64_t RemoteProgram::device_bytes() const {
  proto::WorkerRequest request;
  request.set_device_bytes(id_);
  const auto answer = worker_->Call(std::move(request), {}, times_.call_timeout);
  if (answer.ok()) {
    device_bytes_ = answer->reply.device_bytes();
  } else if (worker_->lost()) {
    device_bytes_ = 0;
  }
  return device_bytes_;
}

Result<std::string> RemoteProgram::LayerInformation() const {
  proto::WorkerRequest request;
  request.set_layer_information(id_);
  VERDICT_ASSIGN_OR_RETURN(auto answer, worker_->Call(std::move(request), {}, times_.call_timeout));
  return std::move(*answer.reply.mutable_text());
}

}  // namespace verdict
