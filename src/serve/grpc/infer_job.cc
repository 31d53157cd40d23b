#include "serve/grpc/infer_job.h"

#include "serve/grpc/infer_message.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {

InferJob::InferJob(Service& service, int worker)
    : service_(service),
      worker_(worker),
      message_(google::protobuf::Arena::CreateMessage<inference::ModelInferRequest>(&arena_)) {}

void InferJob::Start(const grpc::ByteBuffer& bytes, Clock::time_point until) {
  moments_.start = Clock::now();
  deadline = until;
  if (Status status = Read(bytes); !status.ok()) return Fail(status);
  moments_.read = Clock::now();
  if (moments_.read >= deadline) {
    return Fail(DeadlineExceeded("the deadline passed before the model could run"));
  }
  Run();
}

Status InferJob::Read(const grpc::ByteBuffer& bytes) {
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, message_));
  VERDICT_ASSIGN_OR_RETURN(model_, service_.models().ForWorker(worker_).Find(
                                       message_->model_name(), message_->model_version()));
  const Engine& engine = model_->engine();
  VERDICT_RETURN_IF_ERROR(
      ReadInferMessage(*message_, engine.inputs(), engine.outputs(), &buffers_, &request_));
  inputs = request_.inputs;
  timeout_us = request_.timeout_us;
  priority = request_.priority;
  sequence = request_.sequence;
  sequence_start = request_.sequence_start;
  sequence_end = request_.sequence_end;
  return OkStatus();
}

/// The one place that decides where a request is run.
void InferJob::Run() {
  Times times;
  times.queued = times.started = moments_.read;
  const auto results = RunModel(*model_, worker_, inputs);
  times.computed = Clock::now();
  Finish(results.status(), results.ok() ? *results : std::span<const TensorView>{}, times);
}

void InferJob::Finish(const Status& status, std::span<const TensorView> outputs,
                      const Times& times) {
  if (!status.ok()) return Fail(status);
  moments_.computed = times.computed;
  InferAnswerForm form = InferAnswerForm::kUnary;
  if (is_stream()) {
    const auto wish = message_->parameters().find("triton_enable_empty_final_response");
    form = wish != message_->parameters().end() && wish->second.bool_param()
               ? InferAnswerForm::kStreamFinal
               : InferAnswerForm::kStream;
  }
  grpc::ByteBuffer answer;
  if (Status written = WriteInferAnswer(model_->name(), model_->version_text(), request_,
                                        model_->engine().outputs(), outputs, form, &answer);
      !written.ok()) {
    return Fail(written);
  }
  moments_.written = Clock::now();
  RecordSuccess(*model_, worker_, request_, moments_);
  Answer(OkStatus(), answer);
}

void InferJob::Fail(const Status& status) {
  if (model_ != nullptr) RecordFailure(*model_, worker_, status.code(), moments_.start);
  Answer(status, {});
}

Job::Clock::time_point ToJobDeadline(std::chrono::system_clock::time_point deadline) {
  const auto now = std::chrono::system_clock::now();
  // A call without a deadline has one centuries away, beyond what the other clock can say.
  if (deadline - now > std::chrono::hours(24 * 365)) return Job::Clock::time_point::max();
  return Job::Clock::now() + std::chrono::duration_cast<Job::Clock::duration>(deadline - now);
}

}  // namespace verdict
