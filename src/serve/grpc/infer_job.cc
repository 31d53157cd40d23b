#include "serve/grpc/infer_job.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string>

#include "serve/batching/scheduler.h"
#include "serve/grpc/admission.h"
#include "serve/grpc/infer_message.h"
#include "serve/grpc/message_bytes.h"

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
    if (status.ok()) status = Run();
  } catch (const std::bad_alloc&) {  // it would end the process
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
  VERDICT_ASSIGN_OR_RETURN(model_, service_.models().ForWorker(worker_).Find(
                                       message_->model_name(), message_->model_version()));
  TraceContext trace;
  if (service_.tracer().enabled()) {
    trace =
        ParseTraceContext(MetadataOf(context, "traceparent"), MetadataOf(context, "tracestate"));
  }
  record_.emplace(InferenceRecord{
      *model_, {}, service_.tracer().Begin(worker_, message_->model_name(), trace)});
  record_->phases.begin = begin_;
  VERDICT_RETURN_IF_ERROR(CheckTime(service_, *model_, deadline));
  VERDICT_RETURN_IF_ERROR(ReadInferMessage(*message_, model_->inputs(), model_->outputs(),
                                           {&service_.shared_memory(), &memory_}, &buffers_,
                                           &request_));
  // The deadline of a stream's call says nothing about its requests: this is the only one they
  // have.
  if (is_stream() && request_.timeout_us > 0) {
    constexpr uint64_t kMaxUs = uint64_t{86'400} * 1'000'000;  // a day: no overflow
    const std::chrono::microseconds timeout(std::min(request_.timeout_us, kMaxUs));
    deadline = std::min(deadline, begin_ + timeout);
  }
  FillJob(request_, *model_, deadline, this);
  record_->rows = rows;
  record_->phases.parsed = Clock::now();
  const Refusal refusal = service_.gate().AdmitPriority(priority, record_->phases.parsed);
  retry_after_ = refusal.retry_after;
  return refusal.status;
}

/// Runs the request, or has the scheduler do so, or the rest of it.
Status InferJob::Run() {
  const HereRun here = RunsHere(service_, *model_, rows, begin_);
  if (!here) {
    queued_model_ = model_->shared_from_this();
    const Status queued = service_.scheduler().Submit(model_->queue(), self());
    if (!queued.ok()) retry_after_ = RetryAfter(queued);  // else it may be answered already
    return queued;
  }
  DeviceRun late;
  const auto results = RunHere(*model_, worker_, inputs, deadline, &record_->phases, &late);
  if (late) {
    queued_model_ = model_->shared_from_this();
    return service_.scheduler().GoOn(model_->queue(), self(), record_->phases.started, &late);
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
  Deliver(status.ok() ? status : NamingInput(model_->engine().graph(), status), outputs,
          service_.compute_slot(times.thread));
}

void InferJob::Cancel() {
  if (queued_model_ == nullptr || !service_.scheduler().Cancel(*queued_model_->queue(), *this)) {
    return;
  }
  End(Cancelled("the client has gone"), {}, worker_);
}

void InferJob::Deliver(const Status& status, std::span<const TensorView> outputs, int slot) {
  if (!status.ok()) return End(status, {}, slot);
  InferAnswerForm form = InferAnswerForm::kUnary;
  if (is_stream()) {
    const auto wish = message_->parameters().find("triton_enable_empty_final_response");
    form = wish != message_->parameters().end() && wish->second.bool_param()
               ? InferAnswerForm::kStreamFinal
               : InferAnswerForm::kStream;
  }
  grpc::ByteBuffer answer;
  Status written;
  try {
    written = WriteInferAnswer(model_->name(), model_->version_text(), request_, model_->outputs(),
                               outputs, form, served_by(), &answer);
  } catch (const std::exception&) {  // on a compute thread it would end the process
    written = Unavailable("no memory to answer this request");
  }
  record_->phases.written = Clock::now();
  End(written, answer, slot);
}

void InferJob::End(const Status& status, const grpc::ByteBuffer& answer, int slot) {
  if (record_.has_value()) Record(service_, slot, status, *record_);
  // Before the client can know: its next request must not meet this one at its limit.
  admission_.ticket.Release();
  Answer(status, answer);
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
