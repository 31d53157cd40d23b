#include "serve/batching/model_queue.h"

#include <algorithm>
#include <string>
#include <utility>

#include "plan/profile.h"
#include "serve/batching/row_trial.h"

namespace verdict {
namespace {

using Clock = Job::Clock;
using std::chrono::nanoseconds;

/// An estimate that kept so many jobs out while nothing ran for so long is tried again.
constexpr uint64_t kRefusalsToDoubt = 8;
constexpr auto kTimeToDoubt = std::chrono::seconds(1);

size_t IndexOf(std::span<const TensorSpec> specs, const std::string& name) {
  const auto found = std::ranges::find(specs, name, &TensorSpec::name);
  return static_cast<size_t>(found - specs.begin());
}

std::string TooLate(nanoseconds left, nanoseconds time, const std::string& what) {
  const auto us = [](nanoseconds ns) { return std::to_string(ns.count() / 1000) + " us"; };
  return "the deadline is " + us(left) + " away, " + what + " takes " + us(time);
}

/// The scheduling part of the configuration. Without one, batches form of what happens to wait, as
/// Triton's completed configurations do.
DynamicBatching BatchingOf(const ModelConfig& config) {
  return config.dynamic_batching.value_or(DynamicBatching{});
}

}  // namespace

ModelQueue::ModelQueue(const ModelConfig& config, std::string name)
    : config_(config), name_(std::move(name)), queue_(BatchingOf(config)) {}

Status ModelQueue::Check(std::shared_ptr<const Engine> engine, const ModelConfig& config) {
  return Configure(std::move(engine), config, {}).status();
}

Result<std::shared_ptr<ModelQueue>> ModelQueue::Configure(std::shared_ptr<const Engine> engine,
                                                          const ModelConfig& config,
                                                          std::string name) {
  if (BatchingOf(config).priority_levels > kMaxPriorityLevels) {
    return InvalidArgument("priority_levels is over " + std::to_string(kMaxPriorityLevels));
  }
  std::shared_ptr<ModelQueue> queue(new ModelQueue(config, std::move(name)));
  queue->engine_ = std::move(engine);
  queue->rows_ = RowsOf(*queue->engine_);
  VERDICT_RETURN_IF_ERROR(queue->SetLimits());
  VERDICT_RETURN_IF_ERROR(queue->SetStates());
  return queue;
}

Result<std::shared_ptr<ModelQueue>> ModelQueue::Create(std::shared_ptr<const Engine> engine,
                                                       const ModelConfig& config,
                                                       std::span<const Arenas> threads,
                                                       std::string name) {
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<ModelQueue> queue,
                           Configure(std::move(engine), config, std::move(name)));
  const auto num_threads = static_cast<int>(threads.size());
  queue->limit_ = static_cast<int>(
      std::min<uint32_t>(config.cpu_instances() == 0 ? UINT32_MAX : config.cpu_instances(),
                         static_cast<uint32_t>(num_threads)));
  queue->threads_ = num_threads;
  queue->SetDeviceStreams(1);
  if (queue->limits_.in_order) queue->limit_ = 1;  // else one run may overtake another

  // On a session of this thread: the compute threads are at work.
  VERDICT_ASSIGN_OR_RETURN(const auto session, Session::Create(queue->engine_));
  if (queue->limits_.combines) {
    VERDICT_ASSIGN_OR_RETURN(queue->bit_exact_, TryRowsApart(*session, queue->limits_.max_rows));
  }
  const int64_t most_rows = queue->limits_.combines ? queue->limits_.max_rows : queue->rows_.max;
  queue->most_rows_ = most_rows;
  VERDICT_ASSIGN_OR_RETURN(queue->cost_, CostModel::Measure(*session, most_rows));
  queue->device_cost_ = std::make_unique<CostModel>(*queue->cost_);
  for (const Arenas& arenas : threads) {
    VERDICT_ASSIGN_OR_RETURN(
        auto run, BatchRun::Create(queue->engine_, queue->limits_.max_rows, queue->states_,
                                   arenas.work, arenas.staging));
    run->Follow(&queue->faults_);
    queue->runs_.push_back(std::move(run));
  }
  queue->last_run_ = Clock::now();
  return queue;
}

void ModelQueue::SetDeviceStreams(int streams) {
  // A thread that waits for a stream would be missed by other models.
  device_limit_ = limits_.in_order ? 1 : std::clamp(streams, 1, threads_);
  streams_ = streams;
}

HereRun ModelQueue::CountHere(int most) {
  int now = here_.load(std::memory_order_relaxed);
  while (now < most) {
    if (here_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) {
      return HereRun(&here_);
    }
  }
  return {};
}

Status ModelQueue::MeasureDevice(DeviceEngine& device) {
  if (device_measured_.load()) return OkStatus();
  std::vector<std::unique_ptr<std::byte[]>> memory;
  std::vector<TensorView> outputs;
  for (const size_t bytes : device.output_bytes()) {
    // Not as make_unique has it, which would touch all of it.
    memory.emplace_back(new std::byte[bytes + 1]);
    outputs.emplace_back().data = memory.back().get();
  }
  VERDICT_ASSIGN_OR_RETURN(
      const auto measured,
      CostModel::Measure(*engine_, most_rows_, [&](std::span<const TensorView> inputs) {
        const Status status = device.Run(inputs, outputs, device.output_bytes());
        // Zeros need not suit the model: the CPU plan will tell.
        return status.code() == StatusCode::kInvalidArgument ? OkStatus() : status;
      }));
  device_cost_->Replace(*measured);
  device_measured_.store(true);
  return OkStatus();
}

Status ModelQueue::SetLimits() {
  const DynamicBatching batching = BatchingOf(config_);
  if (batching.preserve_ordering) {
    bool delays = false;
    for (const auto& [level, policy] : batching.priority_queue_policy) {
      delays |= policy.timeout_action == QueuePolicy::TimeoutAction::kDelay;
    }
    delays |= batching.default_queue_policy.timeout_action == QueuePolicy::TimeoutAction::kDelay;
    if (batching.priority_levels > 1 || delays) {
      return InvalidArgument(
          "preserve_ordering goes with one priority level and timeout_action: REJECT only");
    }
  }
  limits_.in_order = batching.preserve_ordering;
  limits_.uniform = rows_.uniform;
  if (config_.max_batch_size < 0) return InvalidArgument("max_batch_size is negative");
  if (config_.max_batch_size == 0) return OkStatus();
  if (!rows_.has_batch) {
    return InvalidArgument(
        "max_batch_size is set, but the first extents of the engine's inputs and outputs are not "
        "one and the same symbol; set max_batch_size: 0");
  }
  if (config_.max_batch_size > rows_.max) {
    return InvalidArgument("max_batch_size is " + std::to_string(config_.max_batch_size) +
                           ", the engine's profiles take at most " + std::to_string(rows_.max) +
                           " rows; build it with larger --maxShapes");
  }
  limits_.combines = config_.max_batch_size > 1;
  limits_.max_rows = config_.max_batch_size;
  limits_.preferred_rows = batching.preferred_batch_size;
  // More than a day of delay is a day: no overflow.
  limits_.max_delay = std::chrono::microseconds(
      std::min<uint64_t>(batching.max_queue_delay_microseconds, 86'400'000'000ULL));
  return OkStatus();
}

Status ModelQueue::SetStates() {
  if (!config_.sequence_batching) return OkStatus();
  const SequenceBatching& config = *config_.sequence_batching;
  const Graph& graph = engine_->graph();
  size_t offset = 0;
  for (const SequenceState& state : config.state) {
    StateSlot slot;
    slot.input = IndexOf(engine_->inputs(), state.input_name);
    slot.output = IndexOf(engine_->outputs(), state.output_name);
    if (slot.input == engine_->inputs().size()) {
      return InvalidArgument("state '" + state.input_name + "' is no input of the engine");
    }
    if (slot.output == engine_->outputs().size()) {
      return InvalidArgument("state '" + state.output_name + "' is no output of the engine");
    }
    const auto is_same_input = [&](const StateSlot& other) { return other.input == slot.input; };
    if (std::ranges::any_of(states_, is_same_input)) {
      return InvalidArgument("state '" + state.input_name + "' is given twice");
    }
    const Value& input = graph.value(graph.inputs[slot.input]);
    const Value& output = graph.value(graph.outputs[slot.output]);
    if (input.dtype != output.dtype || !(input.shape == output.shape)) {
      return InvalidArgument(
          "state '" + state.input_name + "' is " + std::string(DataTypeName(input.dtype)) +
          graph.ShapeText(input.shape) + ", but its output '" + state.output_name + "' is " +
          std::string(DataTypeName(output.dtype)) + graph.ShapeText(output.shape));
    }
    slot.shape = input.shape;
    if (slot.shape.rank() > 0 && IsSymbol(slot.shape[0])) slot.shape[0] = 1;
    if (!slot.shape.IsStatic() || input.dtype == DataType::kString) {
      return InvalidArgument("state '" + state.input_name +
                             "' must be numbers, of fixed extents but the first");
    }
    VERDICT_ASSIGN_OR_RETURN(slot.bytes, ByteSize(input.dtype, slot.shape));
    slot.offset = offset;
    offset += (slot.bytes + 15) / 16 * 16;
    states_.push_back(slot);
  }
  if (states_.empty()) return InvalidArgument("sequence_batching names no state");
  if (config.max_candidate_sequences == 0) {
    return InvalidArgument("max_candidate_sequences must be at least 1");
  }
  sequences_.emplace(config);
  return OkStatus();
}

/// What gathering relies on; the session checks the rest.
Status ModelQueue::CheckJob(const Job& job) const {
  if (job.inputs.size() != engine_->inputs().size()) {
    return InvalidArgument("the engine has " + std::to_string(engine_->inputs().size()) +
                           " inputs, got " + std::to_string(job.inputs.size()));
  }
  if (sequences_ && job.sequence.empty()) {
    return InvalidArgument(
        "the model keeps a state per sequence: name the sequence (parameters.sequence_id)");
  }
  if (sequences_ && job.rows != 1) {
    return InvalidArgument("a request of a sequence has one row, got " + std::to_string(job.rows));
  }
  if (config_.max_batch_size > 0 && (job.rows < 1 || job.rows > config_.max_batch_size)) {
    return InvalidArgument("the request has " + std::to_string(job.rows) +
                           " rows, the model takes 1 to " + std::to_string(config_.max_batch_size));
  }
  std::array<Shape, 16> few;
  std::vector<Shape> many(job.inputs.size() > few.size() ? job.inputs.size() : 0);
  const std::span<Shape> shapes =
      many.empty() ? std::span(few).first(job.inputs.size()) : std::span(many);
  for (size_t i = 0; i < job.inputs.size(); ++i) {
    const TensorView& input = job.inputs[i];
    const TensorSpec& spec = engine_->inputs()[i];
    shapes[i] = input.shape;
    if (const auto slot = std::ranges::find(states_, i, &StateSlot::input); slot != states_.end()) {
      if (input.data == nullptr) {
        shapes[i] = slot->shape;
        continue;
      }
    }
    if (input.dtype != spec.dtype) {
      return InvalidArgument("input '" + spec.name + "' has element type " +
                             std::string(DataTypeName(input.dtype)) + ", the engine takes " +
                             std::string(DataTypeName(spec.dtype)));
    }
    if (rows_.has_batch && (config_.max_batch_size > 0 || sequences_) &&
        (input.shape.rank() == 0 || input.shape[0] != job.rows)) {
      return InvalidArgument("input '" + spec.name + "' has shape " + ToString(input.shape) +
                             ", but the request has " + std::to_string(job.rows) + " rows");
    }
  }
  for (const Profile& profile : engine_->profiles()) {
    if (Covers(profile, shapes)) return OkStatus();
  }
  return CheckShapes(engine_->profiles().back(), shapes);
}

bool ModelQueue::NeedsState(const Job& job) const {
  const auto from_store = [&](const StateSlot& slot) {
    return job.inputs[slot.input].data == nullptr;
  };
  return !job.sequence_start && std::ranges::any_of(states_, from_store);
}

/// In Triton's words, and why.
Status ModelQueue::NoState(const Job& job) const {
  return InvalidArgument(
      "inference request for sequence " + job.sequence + (name_.empty() ? "" : " to model '") +
      name_ + (name_.empty() ? "" : "'") +
      " must specify the START flag on the first request of the sequence: this version of the "
      "model keeps no state of it (it has ended, was idle for too long or displaced by others, or "
      "was begun with a version that has been swapped since)");
}

const CostModel* ModelQueue::Cost(Clock::time_point now) const {
  const bool doubt =
      running_ == 0 && refused_ >= kRefusalsToDoubt && now - last_run_ > kTimeToDoubt;
  return doubt ? nullptr : &cost();
}

/// Counts a job that comes too late by the estimates.
Status ModelQueue::Refuse(Status status) {
  cannot_meet_.Add(1);
  ++refused_;
  return status;
}

/// More rows than could be computed in that time.
int64_t ModelQueue::RowsIn(nanoseconds time) const {
  const nanoseconds run =
      std::max<nanoseconds>(cost().Estimate(limits_.max_rows), std::chrono::microseconds(1));
  const int64_t runs = std::min<int64_t>(time / run, 1'000'000) + 1;
  return limits_.max_rows * (runs * limit() + 1);
}

nanoseconds ModelQueue::WorkAhead(size_t level, Clock::time_point due, nanoseconds left,
                                  Clock::time_point now) const {
  if (!queue_.has_ready() || Cost(now) == nullptr) return nanoseconds(0);
  const JobQueue::Ahead ahead = queue_.CountAhead(level, due, RowsIn(left));
  if (ahead.jobs == 0) return nanoseconds(0);
  if (!limits_.combines) return cost().Estimate(ahead.rows / ahead.jobs) * ahead.jobs;
  const int64_t rest = ahead.rows % limits_.max_rows;
  return cost().Estimate(limits_.max_rows) * (ahead.rows / limits_.max_rows) +
         (rest == 0 ? nanoseconds(0) : cost().Estimate(rest));
}

Status ModelQueue::CheckTime(const Job& job, Clock::time_point now, nanoseconds until_free) {
  if (job.deadline <= now) {
    cannot_meet_.Add(1);
    return DeadlineExceeded("the deadline has passed");
  }
  const CostModel* cost = Cost(now);
  if (cost == nullptr || job.deadline == Clock::time_point::max()) return OkStatus();
  const nanoseconds left = job.deadline - now;
  const nanoseconds alone = cost->Estimate(job.rows);
  if (left < alone) return Refuse(DeadlineExceeded(TooLate(left, alone, "a run")));
  const JobQueue::Ahead ahead = queue_.CountAhead(job, now, RowsIn(left));
  const Backlog backlog{ahead.jobs, ahead.rows, until_free, limit()};
  const nanoseconds expected = ExpectedTime(job.rows, backlog, limits_, *cost);
  if (expected <= left || (ahead.jobs == 0 && until_free.count() == 0)) return OkStatus();
  return Refuse(
      Unavailable(TooLate(left, expected, "an answer after what waits") + "; try again later"));
}

Status ModelQueue::Enter(const std::shared_ptr<Job>& job, Clock::time_point now,
                         nanoseconds until_free) {
  if (sequences_ && NeedsState(*job)) {
    sequences_->Expire(now);
    if (!sequences_->Knows(job->sequence)) return NoState(*job);
  }
  VERDICT_RETURN_IF_ERROR(CheckTime(*job, now, until_free));
  const CostModel* cost = Cost(now);
  const nanoseconds alone = cost == nullptr ? nanoseconds(0) : cost->Estimate(job->rows);
  const size_t level = queue_.LevelOf(*job);
  if (queue_.IsFull(level)) {
    full_.Add(1);
    return ResourceExhausted("the queue of the model is full; try again later");
  }
  bool held = false;
  if (sequences_) {
    const auto entered = sequences_->Enter(*job, now);
    if (!entered.ok()) {
      full_.Add(1);
      return entered.status();
    }
    held = *entered;
  }
  try {
    queue_.Push(job, now, alone, held);
  } catch (...) {
    if (sequences_) sequences_->Leave(*job, now);
    throw;
  }
  Publish();
  return OkStatus();
}

void ModelQueue::LoseStart(const Job& job) {
  if (!sequences_) return;
  sequences_->LoseStart(job.sequence);
  Publish();
}

const BatchDecision& ModelQueue::Decide(Clock::time_point now) {
  candidates_.clear();
  candidate_jobs_.clear();
  int64_t rows = 0;
  queue_.ForEachReady([&](Job& job) {
    candidates_.push_back({job.rows, job.times_.queued, job.deadline, job.start_by_, job.inputs});
    candidate_jobs_.push_back(&job);
    rows += job.rows;
    // Twice a batch: of what does not fit or comes too late, there is mostly less than half.
    return limits_.combines ? rows < 2 * limits_.max_rows : candidates_.size() < 2;
  });
  ChooseBatch(candidates_, limits_, Cost(now), now, &decision_);
  return decision_;
}

std::shared_ptr<Job> ModelQueue::Remove(Job& job, Clock::time_point now) {
  std::shared_ptr<Job> taken = queue_.Remove(job);
  if (sequences_) {
    if (Job* next = sequences_->Leave(job, now)) queue_.Release(*next);
  }
  Publish();
  return taken;
}

std::shared_ptr<Job> ModelQueue::RemoveDoomed(Job& job, Clock::time_point now) {
  if (TimedOut(job, now)) {
    timeout_.Add(1);  // says nothing about the cost of a run
  } else {
    cannot_meet_.Add(1);
    ++refused_;
  }
  return Remove(job, now);
}

void ModelQueue::Begin(Clock::time_point now, std::vector<BatchRun::Part>* parts) {
  parts->clear();
  parts->reserve(decision_.taken.size());  // what is taken out below must not get lost
  for (const size_t index : decision_.taken) {
    Job& job = *candidate_jobs_[index];
    job.times_.started = now;
    parts->push_back({queue_.Remove(job), SequenceStore::Of(job), job.sequence_end});
    if (sequences_) sequences_->Begin(job);
  }
  ++running_;
  refused_ = 0;
  Publish();
}

void ModelQueue::End(std::span<const BatchRun::Part> parts, int64_t rows, nanoseconds compute,
                     Clock::time_point now) {
  --running_;
  last_run_ = now;
  for (const BatchRun::Part& part : parts) {
    if (!sequences_) break;
    Job* next = sequences_->End(*part.sequence, part.ends, now);
    if (next != nullptr) queue_.Release(*next);
  }
  if (rows >= 0) {
    sizes_.AddRun(static_cast<uint64_t>(rows), static_cast<uint64_t>(compute.count()));
  }
  Publish();
}

std::shared_ptr<Job> ModelQueue::TakeExpired(Clock::time_point now) {
  if (sequences_) sequences_->Expire(now);
  std::shared_ptr<Job> job = queue_.TakeExpired(now);
  if (job != nullptr) {
    (job->ends_by_timeout_ ? timeout_ : expired_).Add(1);
    if (sequences_) {
      Job* next = sequences_->Leave(*job, now);
      if (next != nullptr) queue_.Release(*next);
    }
  }
  Publish();
  return job;
}

Clock::time_point ModelQueue::NextExpiry() const {
  const Clock::time_point next = queue_.next_expiry();
  return sequences_ ? std::min(next, sequences_->next_expiry()) : next;
}

/// Lets other threads see what is waiting.
void ModelQueue::Publish() {
  pending_.Set(queue_.size());
  active_.Set(static_cast<uint64_t>(running_));
  if (!sequences_) return;
  sequences_held_.Set(sequences_->size());
  sequences_evicted_.Set(sequences_->evicted());
  sequences_expired_.Set(sequences_->expired());
}

ModelQueue::Rejected ModelQueue::rejected() const {
  return {full_.value(), cannot_meet_.value(), expired_.value(), timeout_.value(),
          cancelled_.value()};
}

BatchSizes::Totals ModelQueue::batch_sizes() const {
  BatchSizes::Totals totals{};
  sizes_.AddTo(&totals);
  return totals;
}

ModelQueue::Sequences ModelQueue::sequences() const {
  return {sequences_held_.value(), sequences_evicted_.value(), sequences_expired_.value()};
}

}  // namespace verdict
