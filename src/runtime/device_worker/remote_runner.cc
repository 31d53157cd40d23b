#include "runtime/device_worker/remote_runner.h"

#include <algorithm>
#include <atomic>

#include "base/cpu_count.h"

namespace verdict {
namespace {

constexpr Dim kDisputed = -1;

/// Half of the CPUs at most look for runs' ends at a time, so that there is always one for the
/// worker.
class SpinLease {
 public:
  SpinLease() : granted_(spinning.fetch_add(1) < limit()) {}
  ~SpinLease() { spinning.fetch_sub(1); }
  SpinLease(const SpinLease&) = delete;
  SpinLease& operator=(const SpinLease&) = delete;
  bool granted() const { return granted_; }

 private:
  static int limit() {
    static const int limit = std::max(1, AvailableCpus() / 2);
    return limit;
  }
  static inline std::atomic<int> spinning = 0;
  const bool granted_;
};

}  // namespace

RemoteRunner::RemoteRunner(std::shared_ptr<WorkerProcess> worker,
                           std::shared_ptr<const ProgramInterface> interface, Mailbox mailbox,
                           const RemoteTimes& times)
    : worker_(std::move(worker)),
      interface_(std::move(interface)),
      mailbox_(std::move(mailbox)),
      times_(times),
      outputs_(interface_->outputs.size()) {
  extents_.reserve(interface_->inputs.size() * Shape::kMaxRank);
}

RemoteRunner::~RemoteRunner() {
  if (!open_) return;
  proto::WorkerRequest request;
  request.set_close_runner(slot_);
  const bool closed = worker_->Call(std::move(request), {}, times_.call_timeout).ok();
  worker_->RemoveRunner(mailbox_, slot_, !closed);
}

Status RemoteRunner::Open(proto::WorkerRequest request, const Descriptor& mailbox_file) {
  VERDICT_ASSIGN_OR_RETURN(slot_, worker_->AddRunner(mailbox_));
  request.mutable_new_runner()->set_slot(slot_);
  const auto opened =
      worker_->Call(std::move(request), std::span(&mailbox_file, 1), times_.call_timeout);
  open_ = opened.ok();
  if (!open_) worker_->RemoveRunner(mailbox_, slot_, false);
  return opened.ok() ? OkStatus() : opened.status();
}

Status RemoteRunner::Start(std::span<const TensorView> inputs) {
  VERDICT_RETURN_IF_ERROR(worker_->Check());
  VERDICT_RETURN_IF_ERROR(PutInputs(inputs));
  give_up_ = Clock::now() + times_.run_timeout;
  mailbox_.StartRun();
  worker_->board().Post(slot_);
  return OkStatus();
}

bool RemoteRunner::Wait(Clock::time_point until) {
  return WaitForEnd(until) != Mailbox::Outcome::kTimedOut || Clock::now() >= give_up_;
}

Mailbox::Outcome RemoteRunner::WaitForEnd(Clock::time_point until) {
  const SpinLease lease;
  return mailbox_.Wait(lease.granted() ? times_.spin : std::chrono::microseconds(0),
                       std::min(until, give_up_));
}

Result<std::span<const TensorView>> RemoteRunner::Finish() {
  const Mailbox::Outcome outcome = WaitForEnd(give_up_);
  if (outcome == Mailbox::Outcome::kTimedOut) {
    const std::string why =
        "a run has not ended within " + std::to_string(times_.run_timeout.count()) + " ms";
    worker_->Lose(why);
    return DeadlineExceeded("the device worker hangs: " + why);
  }
  if (outcome == Mailbox::Outcome::kAbandoned) {
    const Status status = worker_->Check();
    return status.ok() ? Unavailable("the device worker answers nothing any more") : status;
  }
  const Mailbox::Answer answer = mailbox_.ReadAnswer();
  if (!answer.status.ok() || answer.lost) return Failed(answer);
  if (const Status status = TakeOutputs(); !status.ok()) {
    worker_->Lose(status.message());
    return Unavailable(status.message());
  }
  return std::span<const TensorView>(outputs_);
}

Status RemoteRunner::Failed(const Mailbox::Answer& answer) {
  const StatusCode code = answer.status.code();
  if (answer.lost || code == StatusCode::kUnavailable || code == StatusCode::kDeadlineExceeded) {
    worker_->Lose("its device is lost: " + answer.status.message());
  }
  return answer.status.ok() ? Unavailable("the device is lost") : answer.status;
}

Status RemoteRunner::PutInputs(std::span<const TensorView> inputs) {
  const auto& tensors = interface_->inputs;
  if (inputs.size() != tensors.size()) {
    return InvalidArgument("the program takes " + std::to_string(tensors.size()) + " inputs, not " +
                           std::to_string(inputs.size()));
  }
  extents_.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Shape& shape = inputs[i].shape;
    const Shape& expected = tensors[i].shape;
    bool fits = shape.rank() == expected.rank();
    for (int axis = 0; fits && axis < shape.rank(); ++axis) {
      if (!IsSymbol(expected[axis])) {
        fits = shape[axis] == expected[axis];
        continue;
      }
      const auto known = std::ranges::find(extents_, expected[axis], &std::pair<Dim, Dim>::first);
      if (known == extents_.end()) {
        extents_.emplace_back(expected[axis], shape[axis]);
      } else if (known->second != shape[axis]) {
        known->second = kDisputed;  // whether that is allowed is the device's to say
      }
    }
    Status status = fits ? mailbox_.PutInput(i, inputs[i])
                         : InvalidArgument("its shape " + ToString(shape) +
                                           " is not of the program's " + ToString(expected));
    if (!status.ok()) return status.WithContext("input '" + tensors[i].name + "'");
  }
  return OkStatus();
}

Status RemoteRunner::CheckOutput(const ProgramInterface::Tensor& tensor,
                                 const TensorView& view) const {
  bool fits = view.shape.rank() == tensor.shape.rank();
  for (int axis = 0; fits && axis < view.shape.rank(); ++axis) {
    Dim expected = tensor.shape[axis];
    if (IsSymbol(expected)) {
      const auto known = std::ranges::find(extents_, expected, &std::pair<Dim, Dim>::first);
      if (known == extents_.end() || known->second == kDisputed) continue;
      expected = known->second;
    }
    fits = view.shape[axis] == expected;
  }
  if (!fits) {
    return DataLoss("the device worker has made output '" + tensor.name + "' of shape " +
                    ToString(view.shape) + ", which is not of the program's " +
                    ToString(tensor.shape));
  }
  if (view.dtype != DataType::kBool) return OkStatus();
  // Kernels may trust a bool to be 0 or 1.
  const std::span bytes(static_cast<const uint8_t*>(view.data), static_cast<size_t>(view.size()));
  if (std::ranges::all_of(bytes, [](uint8_t byte) { return byte <= 1; })) return OkStatus();
  return DataLoss("the device worker has made bools in output '" + tensor.name +
                  "' that are neither 0 nor 1");
}

Status RemoteRunner::TakeOutputs() {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(outputs_[i], mailbox_.Output(i));
    VERDICT_RETURN_IF_ERROR(CheckOutput(interface_->outputs[i], outputs_[i]));
  }
  return OkStatus();
}

Result<std::vector<LayerTime>> RemoteRunner::ProfileLayers(std::span<const TensorView> inputs) {
  proto::WorkerRequest request;
  proto::ProfileCall& call = *request.mutable_profile();
  call.set_slot(slot_);
  std::vector<std::byte> bytes;
  VERDICT_RETURN_IF_ERROR(WriteTensors(inputs, *call.mutable_inputs(), bytes));
  VERDICT_ASSIGN_OR_RETURN(const Descriptor payload, MakePayload(bytes));
  VERDICT_ASSIGN_OR_RETURN(
      const auto answer,
      worker_->Call(std::move(request), std::span(&payload, 1), times_.call_timeout));
  std::vector<LayerTime> times;
  for (const proto::WorkerLayerTime& time : answer.reply.layer_times()) {
    times.push_back({time.layer(), time.milliseconds()});
  }
  return times;
}

}  // namespace verdict
