#pragma once

#include <memory>

#include "serve/grpc/control.h"
#include "serve/grpc/generic_call.h"

namespace verdict {

/// Answers a call of the method by the endpoint that it stands for, now or later.
std::unique_ptr<GrpcHandler> MakeControlHandler(GenericCall& call, const ControlMethod& method);

}  // namespace verdict
