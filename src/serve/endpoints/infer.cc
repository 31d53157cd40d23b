#include <chrono>
#include <memory>
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
                                             model.engine().outputs(), results, &reply->body,
                                             &reply->json_bytes));
  phases->written = Clock::now();
  reply->phases = *phases;
  return OkStatus();
}

/// A request that waits for its run on another thread, with all that it needs until then.
class QueuedInference : public Job {
 public:
  QueuedInference(Service& service, std::shared_ptr<const LoadedModel> model,
                  std::unique_ptr<Service::Scratch> scratch, std::shared_ptr<Deferral> deferral,
                  const Phases& phases)
      : service_(service),
        model_(std::move(model)),
        scratch_(std::move(scratch)),
        deferral_(std::move(deferral)),
        phases_(phases) {}

  void Finish(const Status& status, std::span<const TensorView> outputs,
              const Times& times) override {
    phases_.started = times.started;
    phases_.computed = times.computed;
    Reply reply;
    const Status result = status.ok()
                              ? WriteReply(*model_, scratch_->request, outputs, &phases_, &reply)
                              : NamingInput(model_->engine().graph(), status);
    const int slot = service_.compute_slot(times.thread);
    if (result.ok()) {
      RecordInference(*model_, slot, rows, false, phases_);
    } else {
      RecordFailedInference(*model_, slot, result, phases_.begin);
    }
    service_.PutSpareScratch(std::move(scratch_));
    // Last: from here on the request's memory may be gone.
    std::exchange(deferral_, nullptr)->Complete(result, std::move(reply));
  }

  const LoadedModel& model() const { return *model_; }
  const Phases& phases() const { return phases_; }
  const InferRequest& request() const { return scratch_->request; }
  std::unique_ptr<Service::Scratch> TakeScratch() { return std::move(scratch_); }

 private:
  Service& service_;
  std::shared_ptr<const LoadedModel> model_;
  std::unique_ptr<Service::Scratch> scratch_;
  std::shared_ptr<Deferral> deferral_;
  Phases phases_;
};

Status Queue(Service& service, const LoadedModel& model, const Call& call, const Phases& phases) {
  std::shared_ptr<Deferral> deferral = call.transport->Defer();
  auto job = std::make_shared<QueuedInference>(service, model.shared_from_this(),
                                               service.TakeScratch(call.worker), deferral, phases);
  FillJob(job->request(), model.engine(), call.deadline, job.get());
  deferral->OnCancel([&service, weak = std::weak_ptr<QueuedInference>(job), worker = call.worker] {
    const auto canceled = weak.lock();
    if (canceled == nullptr) return;
    if (!service.scheduler().Cancel(*canceled->model().queue(), *canceled)) return;
    RecordFailedInference(canceled->model(), worker, Cancelled("the client has gone"),
                          canceled->phases().begin);
    service.PutSpareScratch(canceled->TakeScratch());
  });
  return service.scheduler().Submit(model.queue(), std::move(job));
}

Status Infer(Service& service, const LoadedModel& model, const Call& call, Phases* phases,
             Reply* reply) {
  Service::Scratch& scratch = service.scratch(call.worker);
  const Engine& engine = model.engine();
  VERDICT_RETURN_IF_ERROR(scratch.reader.Read(call.json, call.binary, engine.inputs(),
                                              engine.outputs(), &scratch.request));
  phases->parsed = Clock::now();
  const int64_t rows = RowsOf(engine, scratch.request.inputs);
  if (!RunsHere(model, rows)) {
    VERDICT_RETURN_IF_ERROR(Queue(service, model, call, *phases));
    reply->deferred = true;
    return OkStatus();
  }
  VERDICT_ASSIGN_OR_RETURN(const auto results, RunHere(model, call.worker, scratch.request.inputs,
                                                       call.deadline, phases));
  VERDICT_RETURN_IF_ERROR(WriteReply(model, scratch.request, results, phases, reply));
  RecordInference(model, call.worker, rows, true, *phases);
  return OkStatus();
}

}  // namespace

Status HandleInfer(Service& service, const Call& call, Reply* reply) {
  Phases phases;
  phases.begin = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  Status status = Infer(service, *model, call, &phases, reply);
  service.scratch(call.worker).Reset();
  if (!status.ok()) RecordFailedInference(*model, call.worker, status, phases.begin);
  return status;
}

}  // namespace verdict
