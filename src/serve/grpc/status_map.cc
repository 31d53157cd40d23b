#include "serve/grpc/status_map.h"

namespace verdict {

grpc::Status ToGrpcStatus(const Status& status) {
  static_assert(static_cast<int>(StatusCode::kInvalidArgument) == grpc::INVALID_ARGUMENT &&
                static_cast<int>(StatusCode::kUnauthenticated) == grpc::UNAUTHENTICATED);
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), status.message()};
}

}  // namespace verdict
