#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "serve/batching/scheduler.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_response.h"
#include "serve/endpoints/inference.h"
#include "serve/routing/last_resort.h"
#include "serve/routing/rescuer.h"
#include "serve/routing/route_walk.h"

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

constexpr auto kPassOver = InferRequestReader::Others::kPassOver;

/// A request on a route that is answered later. Keeps a copy of the body: the answer may come while
/// a rung that was given up still reads its tensors.
class RoutedInference : public RoutedRequest {
 public:
  RoutedInference(const RouteWalk& walk, const RouteWalk::Step& in_flight, const Call& call,
                  const RequestTrace& trace, std::shared_ptr<Deferral> deferral)
      : RoutedRequest(walk, in_flight),
        json_bytes_(call.json.size()),
        binary_(call.binary.begin(), call.binary.end()),
        trace_(trace),
        deferral_(std::move(deferral)) {
    json_.reserve(json_bytes_ + kJsonPadding);
    json_.append(call.json).append(kJsonPadding, '\0');
  }

  std::string_view json() const { return {json_.data(), json_bytes_}; }
  std::span<const std::byte> binary() const { return binary_; }
  size_t held_bytes() const { return json_.size() + binary_.size(); }
  void UseSharedMemory(const RegionRegistry* registry) { reader_.UseSharedMemory(registry); }

  Result<const InferRequest*> Read(std::span<const TensorSpec> inputs,
                                   std::span<const TensorSpec> outputs) override {
    VERDICT_RETURN_IF_ERROR(reader_.Read(json(), binary(), inputs, outputs, &request_, kPassOver));
    return &request_;
  }
  RequestTrace trace() const override { return trace_; }
  void Answer(const RouteAnswer& answer, const InferenceRecord* record, const InferRequest& request,
              std::span<const TensorSpec> specs, std::span<const TensorView> results) override {
    Reply reply;
    Status status = Unavailable("no memory to answer this request");
    try {
      status = WriteInferResponse(answer.model.empty() ? answer.route->name() : answer.model,
                                  answer.version, request, specs, results, &reply.body,
                                  &reply.json_bytes);
    } catch (const std::exception&) {
      std::string().swap(reply.body);
    }
    reply.phases = record != nullptr ? record->phases : NoPhases();
    reply.served_by = record != nullptr ? "cpu" : "last_resort";
    reply.route = answer;
    Complete(status, std::move(reply));
  }
  void Refuse(const Status& status) override { Complete(status, {}); }

  /// Of who has claimed the request.
  void Complete(const Status& status, Reply reply) {
    reply.trace = trace_;
    std::exchange(deferral_, nullptr)->Complete(status, std::move(reply));
  }

 private:
  static Phases NoPhases() {
    const auto now = Clock::now();
    return {now, now, now, now, now};
  }

  std::string json_;
  size_t json_bytes_;
  std::vector<std::byte> binary_;
  RequestTrace trace_;
  std::shared_ptr<Deferral> deferral_;
  // The rescuer's.
  InferRequestReader reader_;
  InferRequest request_;
};

/// A request that waits for its run on another thread, with all that it needs until then.
class QueuedInference : public Job {
 public:
  /// routed: of a request on a route, which then has the deferral; else null.
  QueuedInference(Service& service, std::shared_ptr<const LoadedModel> model,
                  std::unique_ptr<Service::Scratch> scratch, std::shared_ptr<Deferral> deferral,
                  const InferenceRecord& record, std::shared_ptr<RoutedInference> routed)
      : service_(service),
        model_(std::move(model)),
        scratch_(std::move(scratch)),
        deferral_(std::move(deferral)),
        record_(record),
        routed_(std::move(routed)) {}

  void Finish(const Status& status, std::span<const TensorView> outputs,
              const Times& times) override {
    record_.phases.started = times.started;
    record_.phases.computed = times.computed;
    record_.phases.device = times.device;
    record_.run_rows = times.run_rows;
    const int slot = service_.compute_slot(times.thread);
    if (routed_ != nullptr) return FinishRouted(status, outputs, slot);
    Reply reply;
    reply.trace = record_.trace;
    const Status result =
        status.ok() ? Write(outputs, &reply) : NamingInput(model_->engine().graph(), status);
    Record(service_, slot, result, record_);
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
    if (routed_ != nullptr) {
      routed_->DropRung();
      static_cast<void>(routed_->Claim());
    }
    Record(service_, worker, Cancelled("the client has gone"), record_);
    service_.PutSpareScratch(std::move(scratch_));
  }

 private:
  void FinishRouted(const Status& status, std::span<const TensorView> outputs, int slot) {
    const std::shared_ptr<RoutedInference> routed = std::exchange(routed_, nullptr);
    const RungOutcome outcome = OutcomeOf(status, scratch_->request.inputs, outputs);
    const bool is_wrong = !status.ok() && !MayGoOn(status);  // the request itself
    if (outcome != RungOutcome::kAnswered && !is_wrong) {
      const Status error = status.ok() ? NotANumber() : status;
      Record(service_, slot, error, record_);
      service_.PutSpareScratch(std::move(scratch_));
      return service_.rescuer()->Rescue(routed, outcome, error);
    }
    if (!routed->Claim()) {  // given up, and answered by another
      Record(service_, slot, Cancelled("another rung has answered"), record_);
      service_.PutSpareScratch(std::move(scratch_));
      return;
    }
    is_wrong ? routed->DropRung() : routed->ObserveRung(outcome);
    Reply reply;
    reply.trace = record_.trace;
    const Status result =
        status.ok() ? Write(outputs, &reply) : NamingInput(model_->engine().graph(), status);
    reply.route = routed->first_answer();
    Record(service_, slot, result, record_);
    service_.PutSpareScratch(std::move(scratch_));
    routed->Complete(result, std::move(reply));
  }

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
  std::shared_ptr<RoutedInference> routed_;
};

/// The route's constants, where no rung can answer.
Status AnswerLastResort(Service& service, const Call& call, const RouteWalk& walk,
                        const RouteWalk::Step& step, Reply* reply) {
  const Route::Signature& signature = *step.last_resort;
  Service::Scratch& scratch = service.scratch(call.worker);
  const auto begin = Clock::now();
  VERDICT_RETURN_IF_ERROR(scratch.reader.Read(call.json, call.binary, signature.inputs,
                                              signature.outputs, &scratch.request, kPassOver));
  VERDICT_ASSIGN_OR_RETURN(const LastResort last, LastResort::Make(signature, scratch.request));
  VERDICT_RETURN_IF_ERROR(WriteInferResponse(walk.route().name(), "", scratch.request,
                                             signature.outputs, last.views(), &reply->body,
                                             &reply->json_bytes));
  walk.route().CountLastResort();
  const auto end = Clock::now();
  reply->phases = Phases{begin, begin, begin, begin, end};
  reply->served_by = "last_resort";
  reply->route = walk.Answer(step);
  return OkStatus();
}

/// An attempt to answer on a route.
struct Attempt {
  RouteWalk& walk;
  const RouteWalk::Step& step;
  std::shared_ptr<Deferral>& deferral;  // of all attempts: a call has one
  bool* admitted;                       // by its priority: asked once
};

/// Lets the scheduler run the request, or go on with what *late holds of its run.
Status Defer(Service& service, const Call& call, const InferenceRecord& record,
             const Attempt* attempt, DeviceRun* late) {
  const LoadedModel& model = record.model;
  std::shared_ptr<Deferral> deferral = attempt != nullptr ? attempt->deferral : nullptr;
  if (deferral == nullptr) deferral = call.transport->Defer();
  if (attempt != nullptr) attempt->deferral = deferral;
  std::shared_ptr<RoutedInference> routed;
  size_t held_bytes = 0;
  if (attempt != nullptr) {
    // Not in one piece with its count, which timers hold on to.
    routed = std::shared_ptr<RoutedInference>(
        new RoutedInference(attempt->walk, attempt->step, call, record.trace, deferral));
    routed->UseSharedMemory(&service.shared_memory());
    held_bytes = routed->held_bytes();
    // The run is to read the copy: also the CPU plan's, after one that is late on a device.
    Service::Scratch& scratch = service.scratch(call.worker);
    VERDICT_RETURN_IF_ERROR(scratch.reader.Read(routed->json(), routed->binary(), model.inputs(),
                                                model.outputs(), &scratch.request, kPassOver));
  }
  auto job =
      std::make_shared<QueuedInference>(service, model.shared_from_this(),
                                        service.TakeScratch(call.worker), deferral, record, routed);
  FillJob(job->request(), model, call.deadline, job.get());
  Status status;
  if (*late) {  // a device's streams bound their memory
    status = service.scheduler().GoOn(model.queue(), job, record.phases.started, late);
  } else if (!deferral->Hold(job->held_bytes() + held_bytes)) {
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
  if (status.ok() && routed != nullptr) {
    WatchRung(service, attempt->walk, attempt->step, record.rows,
              service.models().ForWorker(call.worker), routed);
  }
  return status;
}

/// attempt: null where the request is for a model.
Status Infer(Service& service, const Call& call, InferenceRecord* record, const Attempt* attempt,
             Reply* reply) {
  Service::Scratch& scratch = service.scratch(call.worker);
  const LoadedModel& model = record->model;
  if (attempt == nullptr) VERDICT_RETURN_IF_ERROR(CheckTime(service, model, call.deadline));
  VERDICT_RETURN_IF_ERROR(
      scratch.reader.Read(call.json, call.binary, model.inputs(), model.outputs(), &scratch.request,
                          attempt == nullptr ? InferRequestReader::Others::kRefuse : kPassOver));
  record->phases.parsed = Clock::now();
  record->rows = RowsOf(model, scratch.request.inputs);
  if (attempt != nullptr) attempt->walk.NoteRead();
  if (attempt == nullptr || !*attempt->admitted) {
    const Refusal refusal =
        service.gate().AdmitPriority(scratch.request.priority, record->phases.parsed);
    reply->retry_after = refusal.retry_after;
    VERDICT_RETURN_IF_ERROR(refusal.status);
    if (attempt != nullptr) *attempt->admitted = true;
  }
  const HereRun here = RunsHere(service, model, record->rows, record->phases.begin);
  DeviceRun late;
  std::span<const TensorView> results;
  if (here) {
    VERDICT_ASSIGN_OR_RETURN(results, RunHere(model, call.worker, scratch.request.inputs,
                                              call.deadline, &record->phases, &late));
  }
  if (!here || late) {
    const Status deferred = Defer(service, call, *record, attempt, &late);
    reply->retry_after = RetryAfter(deferred);
    VERDICT_RETURN_IF_ERROR(deferred);
    reply->deferred = true;
    return OkStatus();
  }
  record->alone = true;
  record->run_rows = record->rows;
  if (attempt != nullptr && OutcomeOf(OkStatus(), {}, results) == RungOutcome::kNotANumber) {
    return NotANumber();
  }
  return WriteReply(model, scratch.request, results, &record->phases, reply);
}

/// Runs one rung. Returns: whether another one is to be tried.
bool TryRung(Service& service, const Call& call, Clock::time_point begin, const Attempt& attempt,
             Reply* reply, Status* status) {
  RouteWalk& walk = attempt.walk;
  const RouteWalk::Step& step = attempt.step;
  const bool was_read = walk.was_read();
  InferenceRecord record{*step.model, {}, reply->trace};
  record.phases.begin = begin;
  reply->body.clear();  // of a rung that failed in the writing
  reply->json_bytes.reset();
  *status = Infer(service, call, &record, &attempt, reply);
  if (reply->deferred) return false;
  Record(service, call.worker, *status, record);
  if (status->ok()) {
    walk.Observe(step.rung, RungOutcome::kAnswered);
    reply->route = walk.Answer(step);
    return false;
  }
  return walk.GoesOnAfter(step, *status, service.scratch(call.worker).request.inputs, was_read,
                          walk.was_read() && !*attempt.admitted);
}

Status InferOnRoute(Service& service, const Call& call, const Route& route, Reply* reply) {
  const auto begin = Clock::now();
  reply->trace = service.tracer().Begin(call.worker, call.model, call.trace);
  RouteWalk walk(service, route, call.deadline);
  std::shared_ptr<Deferral> deferral;
  bool admitted = false;
  for (;;) {
    const RouteWalk::Step step = walk.Next(service.models().ForWorker(call.worker), false);
    Status status;
    if (step.model != nullptr) {
      const Attempt attempt{walk, step, deferral, &admitted};
      if (TryRung(service, call, begin, attempt, reply, &status)) continue;
    } else if (step.last_resort != nullptr) {
      reply->body.clear();
      reply->json_bytes.reset();
      reply->retry_after = {};
      status = AnswerLastResort(service, call, walk, step, reply);
      // A request that a rung has read is not wrong.
      if (!status.ok() && walk.was_read()) status = walk.Refusal();
    } else {
      status = walk.Refusal();
    }
    service.scratch(call.worker).Reset();
    EndOfInference(begin);
    return status;
  }
}

}  // namespace

Status HandleInfer(Service& service, const Call& call, Reply* reply) {
  if (call.version.empty()) {
    const Route* const route = service.routes().Find(call.model);
    if (route != nullptr) return InferOnRoute(service, call, *route, reply);
  }
  const auto begin = Clock::now();
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  InferenceRecord record{*model, {}, service.tracer().Begin(call.worker, call.model, call.trace)};
  record.phases.begin = begin;
  reply->trace = record.trace;
  Status status = Infer(service, call, &record, nullptr, reply);
  if (!reply->deferred) Record(service, call.worker, status, record);
  service.scratch(call.worker).Reset();
  EndOfInference(begin);
  return status;
}

}  // namespace verdict
