#include "serve/grpc/health.h"

#include <algorithm>
#include <string>

#include "release/repository/repository.h"
#include "serve/endpoints/json_text.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using State = HealthCheckResponse::ServingStatus;

Status Encode(State state, grpc::ByteBuffer* bytes) {
  HealthCheckResponse response;
  response.set_status(state);
  return WriteMessage(response, bytes);
}

class HealthCheck final : public GrpcHandler {
 public:
  explicit HealthCheck(GenericCall& call) : call_(call) {}
  void OnStart() override { call_.Read(); }
  void OnRead(bool ok, const grpc::ByteBuffer& bytes) override {
    grpc::ByteBuffer answer;
    const Status status = ok ? Answer(bytes, &answer) : Cancelled("no request came");
    status.ok() ? call_.WriteAndFinish(answer) : call_.Finish(status);
  }

 private:
  Status Answer(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* answer) {
    HealthCheckRequest request;
    VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &request));
    const auto state =
        HealthOf(call_.worker().shared.service, call_.worker().index, request.service());
    if (!state.has_value()) {
      return NotFound("there is no model " +
                      Quoted(request.service().substr(0, kMaxModelNameBytes)));
    }
    return Encode(*state, answer);
  }
  GenericCall& call_;
};

class HealthWatch final : public GrpcHandler {
 public:
  explicit HealthWatch(GenericCall& call) : call_(call) {}

  void OnStart() override { call_.Read(); }

  void OnRead(bool ok, const grpc::ByteBuffer& bytes) override {
    HealthCheckRequest request;
    const Status status = ok ? ReadMessage(bytes, &request) : Cancelled("no request came");
    if (!status.ok()) return Finish(status);
    // Of what no model can be called, a little is enough.
    name_ = request.service().substr(0, kMaxModelNameBytes + 1);
    watching_ = true;
    OnTick();
  }

  void OnTick() override {
    if (!watching_ || writing_ || finished_) return;
    GrpcWorker& worker = call_.worker();
    const State state = HealthOf(worker.shared.service, worker.index, name_)
                            .value_or(HealthCheckResponse::SERVICE_UNKNOWN);
    if (state != told_) {
      grpc::ByteBuffer bytes;
      VERDICT_CHECK(Encode(state, &bytes).ok());
      told_ = state;
      writing_ = true;
      call_.Write(bytes);
    } else if (worker.shared.stopping.load()) {
      Finish(Unavailable("the server is shutting down"));
    }
  }

  void OnWritten(bool ok) override {
    writing_ = false;
    if (!ok || done_) Finish(Cancelled("the client has gone"));
  }

  void OnDone() override {
    done_ = true;
    if (watching_ && !writing_) Finish(Cancelled("the client has gone"));
  }

 private:
  void Finish(const Status& status) {
    if (finished_) return;
    finished_ = true;
    call_.Finish(status);
  }

  GenericCall& call_;
  std::string name_;
  std::optional<State> told_;
  bool watching_ = false;  // the request was read
  bool writing_ = false;
  bool done_ = false;
  bool finished_ = false;
};

}  // namespace

std::optional<State> HealthOf(Service& service, int worker, const std::string& name) {
  if (name.empty() || name == inference::GRPCInferenceService::service_full_name()) {
    return service.ready() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  }
  const ModelSet& models = service.models().ForWorker(worker);
  if (const Route* const route = service.routes().Find(name); route != nullptr) {
    return service.ready() && route->CanAnswer(models) ? HealthCheckResponse::SERVING
                                                       : HealthCheckResponse::NOT_SERVING;
  }
  const auto found = models.models().find(name);
  if (found == models.models().end()) return std::nullopt;
  const bool answers =
      service.ready() && std::ranges::any_of(found->second, [](const ModelVersion& version) {
        return version.loaded != nullptr;
      });
  return answers ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

std::unique_ptr<GrpcHandler> MakeHealthCheck(GenericCall& call) {
  return std::make_unique<HealthCheck>(call);
}
std::unique_ptr<GrpcHandler> MakeHealthWatch(GenericCall& call) {
  return std::make_unique<HealthWatch>(call);
}

}  // namespace verdict
