#include "serve/grpc/control_handler.h"

#include <atomic>
#include <functional>
#include <new>
#include <string>
#include <utility>

#include "serve/grpc/admission.h"
#include "serve/grpc/infer_job.h"

namespace verdict {
namespace {

const Endpoint* FindEndpoint(Verb verb, std::string_view path) {
  for (const Endpoint& endpoint : Endpoints()) {
    if (endpoint.verb == verb && endpoint.path == path) return &endpoint;
  }
  return nullptr;
}

class ControlHandler final : public GrpcHandler, public CallTransport {
 public:
  ControlHandler(GenericCall& call, const ControlMethod& method) : call_(call), method_(method) {}

  void OnStart() override { call_.Read(); }

  void OnRead(bool ok, const grpc::ByteBuffer& bytes) override {
    if (!ok) return Refuse(Cancelled("no request came"));
    try {
      Handle(bytes);
    } catch (const std::bad_alloc&) {  // it would end the process
      Refuse(ResourceExhausted("no memory for this request; try again later"));
    }
  }

  void Handle(const grpc::ByteBuffer& bytes) {
    if (Status status = method_.request(bytes, &control_); !status.ok()) return Refuse(status);
    const Endpoint* const endpoint = FindEndpoint(control_.verb, control_.path);
    if (endpoint == nullptr) {
      return Refuse(Unimplemented("this server does not offer " + std::string(method_.name)));
    }
    const auto arrival = Call::Clock::now();
    Service& service = call_.worker().shared.service;
    if (const Refusal refusal =
            EnterGate(service.gate(), call_.context(), endpoint->role, arrival, &admission_);
        !refusal.status.ok()) {
      return Refuse(refusal.status, refusal.retry_after);
    }
    const size_t json_bytes = control_.json.size();
    control_.json.append(kJsonPadding, '\0');
    Call call;
    call.worker = call_.worker().index;
    (endpoint->path.find("{region}") == std::string_view::npos ? call.model : call.region) =
        control_.name;
    call.version = control_.version;
    call.json = std::string_view(control_.json).substr(0, json_bytes);
    call.arrival = arrival;
    call.deadline = ToJobDeadline(call_.context().raw_deadline());
    call.transport = this;
    Reply reply;
    const Status status = endpoint->handle(service, call, &reply);
    if (!status.ok() || !reply.deferred) Answer(status, reply.body);
  }

  void OnDone() override {
    if (cancel_ && !answered_.load()) {
      cancel_();
      Refuse(Cancelled("the client has gone"));
    }
  }

  std::shared_ptr<Deferral> Defer() override { return std::make_shared<Later>(*this); }

 private:
  class Later final : public Deferral {
   public:
    explicit Later(ControlHandler& handler)
        : call_(handler.call_.shared_from_this()), handler_(handler) {}
    void Complete(const Status& status, Reply reply) override {
      handler_.Answer(status, reply.body);
    }
    void OnCancel(std::function<void()> cancel) override { handler_.cancel_ = std::move(cancel); }

   private:
    std::shared_ptr<GenericCall> call_;
    ControlHandler& handler_;  // lives as long as call_
  };

  /// The end of the endpoint. Threads: any.
  void Answer(const Status& status, std::string_view json) {
    grpc::ByteBuffer bytes;
    const Status written = method_.response(status, json, &bytes);
    if (!written.ok()) return Refuse(written);
    if (answered_.exchange(true)) return;
    admission_.ticket.Release();  // before the client can know, and send its next request
    call_.WriteAndFinish(bytes);
  }
  void Refuse(const Status& status, std::chrono::milliseconds retry_after = {}) {
    if (answered_.exchange(true)) return;
    admission_.ticket.Release();
    call_.Finish(status, retry_after);
  }

  GenericCall& call_;
  const ControlMethod& method_;
  ControlCall control_;
  Admission admission_;
  std::function<void()> cancel_;
  std::atomic<bool> answered_{false};
};

}  // namespace

std::unique_ptr<GrpcHandler> MakeControlHandler(GenericCall& call, const ControlMethod& method) {
  return std::make_unique<ControlHandler>(call, method);
}

}  // namespace verdict
