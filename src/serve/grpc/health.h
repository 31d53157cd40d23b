#pragma once

#include <memory>
#include <optional>

#include "health.pb.h"
#include "serve/grpc/generic_call.h"

namespace verdict {

/// The state of "" and of the inference service (the whole server), or of a model: SERVING if it
/// answers requests. Nothing for an unknown name. Threads: the worker's own.
std::optional<grpc::health::v1::HealthCheckResponse::ServingStatus> HealthOf(
    Service& service, int worker, const std::string& name);

std::unique_ptr<GrpcHandler> MakeHealthCheck(GenericCall& call);
std::unique_ptr<GrpcHandler> MakeHealthWatch(GenericCall& call);

}  // namespace verdict
