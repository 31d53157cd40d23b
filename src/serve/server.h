#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "serve/endpoints/service.h"
#include "serve/grpc/server.h"
#include "serve/http/inference_handler.h"
#include "serve/http/metrics_handler.h"
#include "serve/http/server.h"

namespace verdict {

struct ServerOptions {
  std::filesystem::path repository;
  std::string http_host = "0.0.0.0";
  uint16_t http_port = 8000;  // 0 picks a free one, here and below
  std::string grpc_host = "0.0.0.0";
  uint16_t grpc_port = 8001;
  std::string metrics_host = "127.0.0.1";
  uint16_t metrics_port = 8002;
  int io_threads = 0;  // of HTTP, and as many of gRPC; 0: one a CPU
  HttpLimits limits;
  GrpcLimits grpc_limits;
  /// From the moment readiness fails to the moment connections are refused.
  std::chrono::milliseconds drain{1000};
};

/// The whole server: repository, models, HTTP, gRPC, metrics. Its public calls belong to one
/// thread.
class Server {
 public:
  /// Listens, and begins to load the models on a thread of its own. Errors: the repository's
  /// (ListRepository) and the ports' (HttpServer::Start, GrpcServer::Start); kResourceExhausted
  /// (threads).
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();

  /// Waits until every model has been tried. Returns: whether the server is ready.
  bool WaitUntilLoaded();

  /// True once every model has been tried. Threads: any.
  bool loaded() const { return loading_done_.load(); }

  /// Ends in order: readiness fails, the drain delay passes while everything is still answered,
  /// then no new connection is taken, requests under way are answered, and all threads end.
  void Shutdown();

  Service& service() { return service_; }
  const std::string& http_url() const { return http_->url(); }
  /// "127.0.0.1:8001"
  const std::string& grpc_address() const { return grpc_->address(); }
  const std::string& metrics_url() const { return metrics_->url(); }

 private:
  explicit Server(const ServerOptions& options);

  ServerOptions options_;
  Service service_;
  InferenceHandler inference_handler_;
  MetricsHandler metrics_handler_;
  std::atomic<bool> stop_loading_{false};
  std::atomic<bool> loading_done_{false};
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<GrpcServer> grpc_;
  std::thread loader_;
};

}  // namespace verdict
