#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "serve/grpc/worker.h"

namespace verdict {

struct GrpcOptions {
  std::string host;
  uint16_t port = 0;     // 0 picks a free one
  int first_worker = 0;  // of the service's workers, this one …
  int workers = 1;       // … and so many from there on are threads of this server
  GrpcLimits limits;
  std::shared_ptr<grpc::ServerCredentials> credentials;  // null: no encryption
};

/// The gRPC server: the inference service as Triton's clients know it, health checking and
/// reflection. Each thread reads, answers and writes its own calls. Its public calls belong to one
/// thread.
class GrpcServer {
 public:
  /// Listens, and starts to serve. `service` must outlive the server.
  ///
  /// Errors: kUnavailable (port in use, no such host), kResourceExhausted (threads).
  static Result<std::unique_ptr<GrpcServer>> Start(const GrpcOptions& options, Service& service);
  /// Stops at once if it is still running.
  ~GrpcServer();

  /// "127.0.0.1:8001", with the port that was picked.
  const std::string& address() const { return address_; }

  /// Takes no new calls and tells clients so; answers those under way, and cuts what is left when
  /// `patience` has passed. Then ends all threads.
  void Stop(std::chrono::milliseconds patience);

 private:
  GrpcServer(Service& service, const GrpcLimits& limits) : shared_(service, limits) {}

  GrpcShared shared_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // the server asks them while it runs
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<GrpcWorker>> workers_;
  std::vector<std::thread> threads_;
  std::string address_;
};

}  // namespace verdict
