#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "serve/batching/scheduler.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_response.h"
#include "serve/endpoints/inference.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

Status WriteReply(const LoadedModel& model, const InferRequest& request,
                  std::span<const TensorView> results, Phases* phases, Reply* reply) {
  VERDICT_RETURN_IF_ERROR(WriteInferResponse(model.name(), model.version_text(), request,
                                             model.outputs(), results, &reply->body,
                                             &reply->json_bytes));
  phases->written = Clock::now();
  reply->phases = *phases;
  reply->served_by = model.ServedBy(phases->device);
  return OkStatus();
}

/// A request that waits for its run on another thread, with all that it needs until then.
class QueuedInference : public Job {
 public:
  QueuedInference(Service& service, std::shared_ptr<const LoadedModel> model,
                  std::unique_ptr<Service::Scratch> scratch, std::shared_ptr<Deferral> deferral,
                  const InferenceRecord& record)
      : service_(service),
        model_(std::move(model)),
        scratch_(std::move(scratch)),
        deferral_(std::move(deferral)),
        record_(record) {}

  void Finish(const Status& status, std::span<const TensorView> outputs,
              const Times& times) override {
    record_.phases.started = times.started;
    record_.phases.computed = times.computed;
    record_.phases.device = times.device;
    record_.run_rows = times.run_rows;
    Reply reply;
    reply.trace = record_.trace;
    const Status result =
        status.ok() ? Write(outputs, &reply) : NamingInput(model_->engine().graph(), status);
    Record(service_, service_.compute_slot(times.thread), result, record_);
    service_.PutSpareScratch(std::move(scratch_));
    // Last: from here on the request's memory may be gone.
    std::exchange(deferral_, nullptr)->Complete(result, std::move(reply));
  }

  size_t held_bytes() const { return scratch_->reader.held_bytes(); }
  const InferRequest& request() const { return scratch_->request; }
  const LoadedModel& model() const { return *model_; }

  /// The scheduler has not taken it: its memory serves the next one. Threads: the worker's own.
  void OnRefused() { service_.PutSpareScratch(std::move(scratch_)); }

  /// What remains to be done once the scheduler has let go of it. Threads: the worker's own.
  void OnCancelled(int worker) {
    Record(service_, worker, Cancelled("the client has gone"), record_);
    service_.PutSpareScratch(std::move(scratch_));
  }

 private:
  /// Errors: also kUnavailable (no memory): an exception would end the compute thread, and with it
  /// the process.
  Status Write(std::span<const TensorView> outputs, Reply* reply) {
    try {
      return WriteReply(*model_, scratch_->request, outputs, &record_.phases, reply);
    } catch (const std::exception&) {
      std::string().swap(reply->body);
      return Unavailable("no memory to answer this request");
    }
  }

  Service& service_;
  std::shared_ptr<const LoadedModel> model_;
  std::unique_ptr<Service::Scratch> scratch_;
  std::shared_ptr<Deferral> deferral_;
  InferenceRecord record_;
};

/// Lets the scheduler run the request, or go on with what *late holds of its run.
Status Defer(Service& service, const Call& call, const InferenceRecord& record, DeviceRun* late) {
  const LoadedModel& model = record.model;
  std::shared_ptr<Deferral> deferral = call.transport->Defer();
  auto job = std::make_shared<QueuedInference>(service, model.shared_from_this(),
                                               service.TakeScratch(call.worker), deferral, record);
  FillJob(job->request(), model, call.deadline, job.get());
  Status status;
  if (*late) {  // a device's streams bound their memory
    status = service.scheduler().GoOn(model.queue(), job, record.phases.started, late);
  } else if (!deferral->Hold(job->held_bytes())) {
    status =
        ResourceExhausted("too many requests and responses are held at this moment; try again");
  } else {
    deferral->OnCancel(
        [&service, weak = std::weak_ptr<QueuedInference>(job), worker = call.worker] {
          const auto canceled = weak.lock();
          if (canceled == nullptr) return;
          if (service.scheduler().Cancel(*canceled->model().queue(), *canceled)) {
            canceled->OnCancelled(worker);
          }
        });
    status = service.scheduler().Submit(model.queue(), job);
  }
  if (!status.ok()) job->OnRefused();
  return status;
}

Status Infer(Service& service, const Call& call, InferenceRecord* record, Reply* reply) {
  Service::Scratch& scratch = service.scratch(call.worker);
  const LoadedModel& model = record->model;
  VERDICT_RETURN_IF_ERROR(CheckTime(service, model, call.deadline));
  VERDICT_RETURN_IF_ERROR(scratch.reader.Read(call.json, call.binary, model.inputs(),
                                              model.outputs(), &scratch.request));
  record->phases.parsed = Clock::now();
  record->rows = RowsOf(model, scratch.request.inputs);
  const Refusal refusal =
      service.gate().AdmitPriority(scratch.request.priority, record->phases.parsed);
  reply->retry_after = refusal.retry_after;
  VERDICT_RETURN_IF_ERROR(refusal.status);
  const HereRun here = RunsHere(service, model, record->rows, record->phases.begin);
  DeviceRun late;
  std::span<const TensorView> results;
  if (here) {
    VERDICT_ASSIGN_OR_RETURN(results, RunHere(model, call.worker, scratch.request.inputs,
                                              call.deadline, &record->phases, &late));
  }
  if (!here || late) {
    const Status deferred = Defer(service, call, *record, &late);
    reply->retry_after = RetryAfter(deferred);
    VERDICT_RETURN_IF_ERROR(deferred);
    reply->deferred = true;
    return OkStatus();
  }
  record->alone = true;
  record->run_rows = record->rows;
  return WriteReply(model, scratch.request, results, &record->phases, reply);
}

}  // namespace

Status HandleInfer(Service& service, const Call& call, Reply* reply) {
  const auto begin = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  InferenceRecord record{*model, {}, service.tracer().Begin(call.worker, call.model, call.trace)};
  record.phases.begin = begin;
  reply->trace = record.trace;
  Status status = Infer(service, call, &record, reply);
  if (!reply->deferred) Record(service, call.worker, status, record);
  service.scratch(call.worker).Reset();
  EndOfInference(begin);
  return status;
}

}  // namespace verdict
