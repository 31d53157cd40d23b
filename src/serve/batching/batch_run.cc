#include "serve/batching/batch_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checked_math.h"
#include "serve/batching/engine_rows.h"

namespace verdict {
namespace {

/// Bytes that the inputs of `max_rows` rows take at their largest, each aligned.
Result<size_t> StagingBytes(const Engine& engine, int64_t max_rows) {
  size_t most = 0;
  for (const Profile& profile : engine.profiles()) {
    size_t bytes = 0;
    for (size_t i = 0; i < profile.inputs.size(); ++i) {
      Shape shape = profile.inputs[i].max;
      shape[0] = max_rows;
      VERDICT_ASSIGN_OR_RETURN(const size_t input, ByteSize(engine.inputs()[i].dtype, shape));
      if (!CheckedAdd(bytes, AlignUp(input, Arena::kAlignment), &bytes)) {
        return ResourceExhausted("the inputs of a batch outgrow any memory");
      }
    }
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace

Result<std::unique_ptr<BatchRun>> BatchRun::Create(std::shared_ptr<const Engine> engine,
                                                   int64_t max_rows,
                                                   std::span<const StateSlot> states,
                                                   std::shared_ptr<Arena> work,
                                                   std::shared_ptr<Arena> staging) {
  std::unique_ptr<BatchRun> run(new BatchRun());
  if (max_rows > 1) {
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, StagingBytes(*engine, max_rows));
    VERDICT_RETURN_IF_ERROR(staging->Reserve(bytes).WithContext("the inputs of a batch"));
    run->staging_ = std::move(staging);
    run->staging_bytes_ = bytes;
  }
  run->inputs_.resize(engine->inputs().size());
  run->slices_.resize(engine->outputs().size());
  run->states_ = states;
  run->state_of_.resize(engine->inputs().size());
  for (const StateSlot& slot : states) {
    run->state_of_[slot.input] = &slot;
    if (run->zeros_.size() < slot.bytes) run->zeros_.resize(slot.bytes);
  }
  VERDICT_ASSIGN_OR_RETURN(run->session_, Session::Create(std::move(engine), std::move(work)));
  return run;
}

BatchRun::~BatchRun() {
  if (staging_ != nullptr) staging_->Release(staging_bytes_);
}

/// The state that a job goes on with.
const std::byte* BatchRun::Stored(const Part& part, const StateSlot& slot) const {
  const Sequence* sequence = part.sequence;
  const bool known = sequence != nullptr && sequence->memory != nullptr;
  return known ? sequence->memory.get() + slot.offset : zeros_.data();
}

/// Fills inputs_ from the parts.
void BatchRun::Gather(std::span<const Part> parts) {
  const auto source = [&](const Part& part, size_t input) {
    TensorView view = part.job->inputs[input];
    const StateSlot* slot = state_of_[input];
    if (slot == nullptr || view.data != nullptr) return view;
    return TensorView{session_->engine().inputs()[input].dtype, slot->shape,
                      const_cast<std::byte*>(Stored(part, *slot))};
  };
  if (parts.size() == 1) {
    for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = source(parts[0], i);
    return;
  }
  int64_t rows = 0;
  for (const Part& part : parts) rows += part.job->rows;
  std::byte* to = staging_->Acquire();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    TensorView& gathered = inputs_[i];
    gathered = source(parts[0], i);
    gathered.shape[0] = rows;
    gathered.data = to;
    const size_t row_bytes = RowBytes(gathered.dtype, gathered.shape);
    for (const Part& part : parts) {
      const size_t bytes = static_cast<size_t>(part.job->rows) * row_bytes;
      if (bytes > 0) std::memcpy(to, source(part, i).data, bytes);
      to += bytes;
    }
    to = static_cast<std::byte*>(gathered.data) +
         AlignUp(static_cast<size_t>(rows) * row_bytes, Arena::kAlignment);
  }
}

/// Before a run, so that nothing is half done where there is no memory.
void BatchRun::ReserveSpares(size_t parts) {
  const size_t bytes = states_.back().offset + states_.back().bytes;
  if (spares_.size() < parts) spares_.resize(parts);
  for (size_t i = 0; i < parts; ++i) {
    if (spares_[i] == nullptr) spares_[i] = std::make_unique<std::byte[]>(bytes);
  }
}

Status BatchRun::Run(std::span<const Part> parts, DeviceEngine::Clock::time_point until,
                     DeviceRun* device_run) {
  outputs_ = {};
  FaultPoint::Kind fault = FaultPoint::Kind::kNone;
  if (faults_ != nullptr && faults_->active()) {
    VERDICT_ASSIGN_OR_RETURN(fault, faults_->Before());
  }
  if (!states_.empty()) ReserveSpares(parts.size());
  Gather(parts);
  VERDICT_ASSIGN_OR_RETURN(outputs_, session_->Run(inputs_, until, device_run));
  if (device_run != nullptr && *device_run) return OkStatus();
  if (fault == FaultPoint::Kind::kNotANumber) FaultPoint::Spoil(outputs_);
  if (states_.empty()) return OkStatus();
  int64_t row = 0;
  for (const Part& part : parts) {
    // Outputs may be the stored state itself, passed through: it stays as it is until they are
    // read.
    std::unique_ptr<std::byte[]>& next = spares_[static_cast<size_t>(&part - parts.data())];
    for (const StateSlot& slot : states_) {
      const auto* from = static_cast<const std::byte*>(outputs_[slot.output].data);
      std::memcpy(next.get() + slot.offset, from + static_cast<size_t>(row) * slot.bytes,
                  slot.bytes);
    }
    std::swap(part.sequence->memory, next);
    row += part.job->rows;
  }
  return OkStatus();
}

std::span<const TensorView> BatchRun::Outputs(int64_t first, int64_t rows) {
  for (size_t i = 0; i < slices_.size(); ++i) slices_[i] = RowSlice(outputs_[i], first, rows);
  return slices_;
}

}  // namespace verdict
