#pragma once

#include <memory>

#include "reflection.pb.h"
#include "serve/grpc/generic_call.h"

namespace verdict {

/// Answers one question about the server's services. Threads: any.
grpc::reflection::v1::ServerReflectionResponse Reflect(
    const grpc::reflection::v1::ServerReflectionRequest& request);

std::unique_ptr<GrpcHandler> MakeReflection(GenericCall& call);

}  // namespace verdict
