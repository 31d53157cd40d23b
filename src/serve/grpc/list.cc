#include <chrono>
#include <string>
#include <utility>

#include "serve/grpc/control_handler.h"
#include "serve/grpc/generic_call.h"
#include "serve/grpc/health.h"
#include "serve/grpc/infer_stream.h"
#include "serve/grpc/reflection.h"

namespace verdict {
namespace {

constexpr std::string_view kInference = "/inference.GRPCInferenceService/";

class RefusedCall final : public GrpcHandler {
 public:
  RefusedCall(GenericCall& call, Status status, std::chrono::milliseconds retry_after)
      : call_(call), status_(std::move(status)), retry_after_(retry_after) {}
  void OnStart() override { call_.Finish(status_, retry_after_); }
  void OnRead(bool, const grpc::ByteBuffer&) override {}

 private:
  GenericCall& call_;
  Status status_;
  std::chrono::milliseconds retry_after_;
};

}  // namespace

std::unique_ptr<GrpcHandler> MakeRefusal(GenericCall& call, Status status,
                                         std::chrono::milliseconds retry_after) {
  return std::make_unique<RefusedCall>(call, std::move(status), retry_after);
}

std::unique_ptr<GrpcHandler> MakeGrpcHandler(GenericCall& call, std::string_view method) {
  if (method == "/inference.GRPCInferenceService/ModelStreamInfer") {
    return std::make_unique<InferStream>(call);
  }
  if (method == "/grpc.health.v1.Health/Check") return MakeHealthCheck(call);
  if (method == "/grpc.health.v1.Health/Watch") return MakeHealthWatch(call);
  const bool asks_for_reflection =
      method == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" ||
      method == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  if (asks_for_reflection && call.worker().shared.limits.reflection) {
    return MakeReflection(call);
  }
  if (method.starts_with(kInference)) {
    const ControlMethod* const control = FindControlMethod(method.substr(kInference.size()));
    if (control != nullptr) return MakeControlHandler(call, *control);
  }
  return MakeRefusal(call, Unimplemented("there is no such method"));
}

}  // namespace verdict
