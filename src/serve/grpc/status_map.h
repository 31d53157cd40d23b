#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"

namespace verdict {

/// The gRPC status of an outcome; the codes are the same.
grpc::Status ToGrpcStatus(const Status& status);

}  // namespace verdict
