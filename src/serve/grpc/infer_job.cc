#include "serve/grpc/infer_job.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string>

#include "serve/batching/scheduler.h"
#include "serve/grpc/admission.h"
#include "serve/grpc/infer_message.h"
#include "serve/grpc/message_bytes.h"
#include "serve/routing/last_resort.h"
#include "serve/routing/route_walk.h"

namespace verdict {
namespace {

/// Messages up to this size are free of the budget, so that clients who use it up leave room for
/// small requests. The number of calls bounds them.
constexpr size_t kFreeMessageBytes = 4096;

}  // namespace

InferJob::InferJob(Service& service, int worker, MemoryBudget& budget, size_t max_message_bytes)
    : service_(service),
      worker_(worker),
      budget_(budget),
      memory_(budget),
      max_message_bytes_(max_message_bytes),
      message_(google::protobuf::Arena::CreateMessage<inference::ModelInferRequest>(&arena_)) {}

void InferJob::Start(const grpc::ByteBuffer& bytes, const grpc::ServerContextBase& context) {
  begin_ = Clock::now();
  deadline = service_.Deadline(begin_, ToJobDeadline(context.raw_deadline()));
  const Refusal refusal = EnterGate(service_.gate(), context, Role::kInfer, begin_, &admission_);
  retry_after_ = refusal.retry_after;
  Status status = refusal.status;
  try {
    if (status.ok()) status = Read(bytes, context);
    if (status.ok()) status = route_ != nullptr ? RunOnRoute() : Run(nullptr);
  } catch (const std::exception&) {  // it would end the process
    status = ResourceExhausted("no memory to read this request; try again later");
  }
  if (!status.ok()) End(status, {}, worker_);
  EndOfInference(begin_);
}

Status InferJob::ReadBytes(const grpc::ByteBuffer& bytes) {
  if (!IsCompressed(bytes)) return Parse(bytes);
  BodyBuffer memory(budget_);
  grpc::ByteBuffer inflated;
  VERDICT_RETURN_IF_ERROR(InflateMessage(bytes, max_message_bytes_, &memory, &inflated));
  return Parse(inflated);
}

Status InferJob::Parse(const grpc::ByteBuffer& bytes) {
  if (bytes.Length() > kFreeMessageBytes) {
    VERDICT_ASSIGN_OR_RETURN(const size_t parsed, ParsedBytes(bytes, *message_->GetDescriptor()));
    if (parsed > budget_.limit()) {
      return ResourceExhausted("the request would take " + std::to_string(parsed) +
                               " bytes of memory, more than all requests together may; send fewer "
                               "elements at a time, or in raw_input_contents");
    }
    if (!memory_.Take(parsed)) {
      retry_after_ = kRetrySoon;
      return ResourceExhausted("too many requests are held at this moment; try again later");
    }
  }
  return ParseMessage(bytes, message_);
}

Status InferJob::Read(const grpc::ByteBuffer& bytes, const grpc::ServerContextBase& context) {
  VERDICT_RETURN_IF_ERROR(ReadBytes(bytes));
  VERDICT_RETURN_IF_ERROR(Find(context));
  if (route_ != nullptr) return OkStatus();
  record_.emplace(InferenceRecord{*model_, {}, trace_});
  record_->phases.begin = begin_;
  VERDICT_RETURN_IF_ERROR(CheckTime(service_, *model_, deadline));
  return ReadFor(*model_);
}

Status InferJob::Find(const grpc::ServerContextBase& context) {
  const std::string& name = message_->model_name();
  if (message_->model_version().empty()) route_ = service_.routes().Find(name);
  if (route_ == nullptr) {
    VERDICT_ASSIGN_OR_RETURN(
        model_, service_.models().ForWorker(worker_).Find(name, message_->model_version()));
  }
  TraceContext trace;
  if (service_.tracer().enabled()) {
    trace =
        ParseTraceContext(MetadataOf(context, "traceparent"), MetadataOf(context, "tracestate"));
  }
  trace_ = service_.tracer().Begin(worker_, name, trace);
  return OkStatus();
}

Status InferJob::ReadFor(const LoadedModel& model) {
  VERDICT_RETURN_IF_ERROR(ReadInferMessage(*message_, model.inputs(), model.outputs(),
                                           {&service_.shared_memory(), &memory_}, &buffers_,
                                           &request_, route_ != nullptr));
  // The deadline of a stream's call says nothing about its requests: this is the only one they
  // have.
  if (is_stream() && request_.timeout_us > 0) {
    constexpr uint64_t kMaxUs = uint64_t{86'400} * 1'000'000;  // a day: no overflow
    const std::chrono::microseconds timeout(std::min(request_.timeout_us, kMaxUs));
    deadline = std::min(deadline, begin_ + timeout);
  }
  FillJob(request_, model, deadline, this);
  record_->rows = rows;
  record_->phases.parsed = Clock::now();
  if (walk_.has_value()) {
    walk_->NoteRead();
    walk_->SetDeadline(deadline);
  }
  if (admitted_) return OkStatus();
  const Refusal refusal = service_.gate().AdmitPriority(priority, record_->phases.parsed);
  retry_after_ = refusal.retry_after;
  admitted_ = refusal.status.ok();
  return refusal.status;
}

/// Goes down the route until a rung answers, or has the request.
Status InferJob::RunOnRoute() {
  walk_.emplace(service_, *route_, deadline);
  for (;;) {
    const RouteWalk::Step step = walk_->Next(service_.models().ForWorker(worker_), false);
    if (step.model == nullptr) {
      retry_after_ = {};
      if (step.last_resort == nullptr) return walk_->Refusal();
      const Status status = AnswerLastResort(step);
      // A request that a rung has read is not wrong.
      return !status.ok() && walk_->was_read() ? walk_->Refusal() : status;
    }
    model_ = step.model.get();
    queued_model_ = step.model;
    record_.emplace(InferenceRecord{*model_, {}, trace_});
    record_->phases.begin = begin_;
    const bool was_read = walk_->was_read();
    Status status = ReadFor(*model_);
    if (status.ok()) status = Run(&step);
    if (status.ok()) return status;
    Record(service_, worker_, status, *record_);
    record_.reset();
    routed_.reset();
    queued_model_.reset();
    const bool is_shed = walk_->was_read() && !admitted_;
    if (!walk_->GoesOnAfter(step, status, request_.inputs, was_read, is_shed)) return status;
  }
}

Status InferJob::AnswerLastResort(const RouteWalk::Step& step) {
  const Route::Signature& signature = *step.last_resort;
  VERDICT_RETURN_IF_ERROR(ReadInferMessage(*message_, signature.inputs, signature.outputs,
                                           {&service_.shared_memory(), &memory_}, &buffers_,
                                           &request_, true));
  VERDICT_ASSIGN_OR_RETURN(const LastResort last, LastResort::Make(signature, request_));
  grpc::ByteBuffer answer;
  VERDICT_RETURN_IF_ERROR(WriteInferAnswer(route_->name(), "", request_, signature.outputs,
                                           last.views(), form(), "last_resort", &answer));
  route_->CountLastResort();
  const auto now = Clock::now();
  answered_ = {"last_resort", {begin_, now, now, now, now}, walk_->Answer(step)};
  Conclude(OkStatus(), answer);
  return OkStatus();
}

/// Runs the request, or has the scheduler do so, or the rest of it. step: null where it is for a
/// model. Errors: it has not been answered.
Status InferJob::Run(const RouteWalk::Step* step) {
  const auto hand_over = [&] {
    queued_model_ = model_->shared_from_this();
    if (step != nullptr) routed_.emplace(*this, *walk_, *step);
  };
  const auto watch = [&](const std::shared_ptr<Job>& keep) {
    if (step == nullptr) return;
    WatchRung(service_, *walk_, *step, rows, service_.models().ForWorker(worker_),
              std::shared_ptr<RoutedRequest>(keep, &*routed_));
  };
  const HereRun here = RunsHere(service_, *model_, rows, begin_);
  if (!here) {
    hand_over();
    const auto keep = self();  // it may be answered, and gone, before this returns
    const Status queued = service_.scheduler().Submit(model_->queue(), keep);
    if (!queued.ok()) retry_after_ = RetryAfter(queued);  // else it may be answered already
    if (queued.ok()) watch(keep);
    return queued;
  }
  DeviceRun late;
  const auto results = RunHere(*model_, worker_, inputs, deadline, &record_->phases, &late);
  if (late) {
    hand_over();
    const auto keep = self();
    const Status going =
        service_.scheduler().GoOn(model_->queue(), keep, record_->phases.started, &late);
    if (going.ok()) watch(keep);
    return going;
  }
  if (step != nullptr) {
    VERDICT_RETURN_IF_ERROR(results.status());
    if (OutcomeOf(OkStatus(), {}, *results) == RungOutcome::kNotANumber) {
      return NotANumber();
    }
    walk_->Observe(step->rung, RungOutcome::kAnswered);
    answered_.route = walk_->Answer(*step);
  }
  record_->alone = true;
  record_->run_rows = rows;
  Deliver(results.status(), results.ok() ? *results : std::span<const TensorView>{}, worker_);
  return OkStatus();
}

void InferJob::Finish(const Status& status, std::span<const TensorView> outputs,
                      const Times& times) {
  record_->phases.started = times.started;
  record_->phases.computed = times.computed;
  record_->phases.device = times.device;
  record_->run_rows = times.run_rows;
  const int slot = service_.compute_slot(times.thread);
  if (routed_.has_value()) return FinishRouted(status, outputs, slot);
  Deliver(status.ok() ? status : NamingInput(model_->engine().graph(), status), outputs, slot);
}

void InferJob::FinishRouted(const Status& status, std::span<const TensorView> outputs, int slot) {
  const RungOutcome outcome = OutcomeOf(status, request_.inputs, outputs);
  const bool is_wrong = !status.ok() && !MayGoOn(status);  // the request itself
  if (outcome != RungOutcome::kAnswered && !is_wrong) {
    const Status error = status.ok() ? NotANumber() : status;
    Record(service_, slot, error, *record_);
    return service_.rescuer()->Rescue(std::shared_ptr<RoutedRequest>(self(), &*routed_), outcome,
                                      error);
  }
  if (!routed_->Claim()) {  // given up, and answered by another
    return Record(service_, slot, Cancelled("another rung has answered"), *record_);
  }
  is_wrong ? routed_->DropRung() : routed_->ObserveRung(outcome);
  answered_.route = routed_->first_answer();
  Deliver(status.ok() ? status : NamingInput(model_->engine().graph(), status), outputs, slot);
}

void InferJob::Cancel() {
  if (queued_model_ == nullptr || !service_.scheduler().Cancel(*queued_model_->queue(), *this)) {
    return;
  }
  if (routed_.has_value()) {
    routed_->DropRung();
    if (!routed_->Claim()) return;
  }
  End(Cancelled("the client has gone"), {}, worker_);
}

InferAnswerForm InferJob::form() const {
  if (!is_stream()) return InferAnswerForm::kUnary;
  const auto wish = message_->parameters().find("triton_enable_empty_final_response");
  return wish != message_->parameters().end() && wish->second.bool_param()
             ? InferAnswerForm::kStreamFinal
             : InferAnswerForm::kStream;
}

void InferJob::Deliver(const Status& status, std::span<const TensorView> outputs, int slot) {
  if (!status.ok()) return End(status, {}, slot);
  answered_.served_by = model_->ServedBy(record_->phases.device);
  grpc::ByteBuffer answer;
  Status written;
  try {
    written = WriteInferAnswer(model_->name(), model_->version_text(), request_, model_->outputs(),
                               outputs, form(), answered_.served_by, &answer);
  } catch (const std::exception&) {  // on a compute thread it would end the process
    written = Unavailable("no memory to answer this request");
  }
  record_->phases.written = Clock::now();
  answered_.phases = record_->phases;
  End(written, answer, slot);
}

void InferJob::End(const Status& status, const grpc::ByteBuffer& answer, int slot) {
  if (record_.has_value()) Record(service_, slot, status, *record_);
  Conclude(status, answer);
}

void InferJob::Conclude(const Status& status, const grpc::ByteBuffer& answer) {
  // Before the client can know: its next request must not meet this one at its limit.
  admission_.ticket.Release();
  Answer(status, answer);
}

Result<const InferRequest*> InferJob::Routed::Read(std::span<const TensorSpec> inputs,
                                                   std::span<const TensorSpec> outputs) {
  VERDICT_RETURN_IF_ERROR(ReadInferMessage(*job_.message_, inputs, outputs,
                                           {&job_.service_.shared_memory(), nullptr}, &buffers_,
                                           &request_, true));
  return &request_;
}

void InferJob::Routed::Answer(const RouteAnswer& answer, const InferenceRecord* record,
                              const InferRequest& request, std::span<const TensorSpec> specs,
                              std::span<const TensorView> results) {
  const auto now = Clock::now();
  const std::string_view by = answer.model.empty() ? std::string_view("last_resort") : "cpu";
  job_.answered_ = {
      by, record != nullptr ? record->phases : Phases{job_.begin_, now, now, now, now}, answer};
  grpc::ByteBuffer bytes;
  Status written;
  try {
    written = WriteInferAnswer(answer.model.empty() ? answer.route->name() : answer.model,
                               answer.version, request, specs, results, job_.form(), by, &bytes);
  } catch (const std::exception&) {
    written = Unavailable("no memory to answer this request");
  }
  job_.Conclude(written, bytes);
}

Job::Clock::time_point ToJobDeadline(gpr_timespec deadline) {
  // A call without a deadline has an infinite one; a distant one may be beyond what other clocks
  // can say.
  constexpr int64_t kDistantSeconds = int64_t{86'400} * 365;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > kDistantSeconds) return Job::Clock::time_point::max();
  return Job::Clock::now() + std::chrono::seconds(std::max<int64_t>(left.tv_sec, -1)) +
         std::chrono::nanoseconds(left.tv_nsec);
}

}  // namespace verdict
