#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/gpu/gpu_sampler.h"
#include "serve/admission/gate.h"
#include "serve/admission/reloader.h"
#include "serve/device/serving_device.h"
#include "serve/endpoints/service.h"
#include "serve/grpc/server.h"
#include "serve/http/inference_handler.h"
#include "serve/http/metrics_handler.h"
#include "serve/http/server.h"
#include "serve/models/manager.h"
#include "serve/models/repository_options.h"
#include "serve/routing/rescuer.h"
#include "serve/tls/tls_context.h"

namespace verdict {

struct ServerOptions {
  std::filesystem::path repository;
  std::string http_host = "0.0.0.0";
  uint16_t http_port = 8000;  // 0 picks a free one, here and below
  bool grpc_enabled = true;
  std::string grpc_host = "0.0.0.0";
  uint16_t grpc_port = 8001;
  std::string metrics_host = "127.0.0.1";
  uint16_t metrics_port = 8002;
  std::chrono::milliseconds gpu_metrics_interval{0};  // 0: GPUs are not asked
  std::string admin_host = "127.0.0.1";
  uint16_t admin_port = 8003;
  TlsOptions tls;  // of the inference ports and the admin port
  AdmissionOptions admission;
  int io_threads = 0;       // of HTTP; 0: one a CPU
  int grpc_threads = 0;     // 0: one a CPU
  int compute_threads = 0;  // 0: one a CPU
  RepositoryOptions models;
  ServingDeviceOptions device;
  HttpLimits limits;
  GrpcLimits grpc_limits;
  /// From the moment readiness fails to the moment connections are refused.
  std::chrono::milliseconds drain{1000};
  OtlpOptions trace_collector;  // without a URL nothing is traced
  TraceSettings trace;
  SharedMemoryOptions shared_memory;
  DeadlineOptions deadline;
  std::map<std::string, RouteOptions> routes;
  bool fault_injection = false;  // of models
};

/// The whole server: repository, models, HTTP, gRPC, metrics. Its public calls belong to one
/// thread.
class Server {
 public:
  /// Listens, and begins to load the models on threads of their own. Errors: the repository's
  /// (ListRepository), the ports' (HttpServer::Start, GrpcServer::Start), TLS's (TlsContext::Load)
  /// and the clients file's (ClientTable::Load); kInvalidArgument (an admin port that anyone
  /// reaches without credentials, no URL of a collector); kUnimplemented (gRPC that is held to TLS
  /// 1.3); kResourceExhausted (threads).
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();

  /// What would keep Start from succeeding, besides the repository and the ports. Reads files,
  /// opens no port, starts no thread.
  static std::vector<Status> Check(const ServerOptions& options);

  /// Waits until every model of the start has been tried. Returns: whether the server is ready.
  bool WaitUntilLoaded();

  /// True once every model of the start has been tried. Threads: any.
  bool loaded() const { return manager_->settled(); }

  /// Looks at the repository now, where it is polled.
  void RescanRepository() { manager_->Rescan(); }

  /// Ends in order: readiness fails, the drain delay passes while everything is still answered,
  /// then no new connection is taken, requests under way are answered, and all threads end.
  void Shutdown();

  Service& service() { return service_; }
  const std::string& http_url() const { return http_->url(); }
  /// "127.0.0.1:8001"; empty where gRPC is turned off.
  std::string grpc_address() const { return grpc_ != nullptr ? grpc_->address() : ""; }
  const std::string& metrics_url() const { return metrics_->url(); }
  const std::string& admin_url() const { return admin_->url(); }

  /// Reads certificates and clients again, soon, on a thread of its own. What is broken leaves the
  /// old in use and is logged. Returns: false without such files. Threads: any.
  bool ReloadSecurity();

  /// Counts an attempt to read the configuration again. Threads: any.
  void CountConfigurationReload(bool ok) { service_.metrics().CountReload("configuration", ok); }

 private:
  Server(const ServerOptions& options, std::unique_ptr<Gate> gate);
  Status StartGrpc();
  /// Each: StampOf the files before they were read.
  Status StartReloader(const std::string& certificate_stamp, const std::string& clients_stamp);
  void Sample(ServerSample* sample);

  ServerOptions options_;
  Service service_;
  InferenceHandler inference_handler_;
  InferenceHandler admin_handler_;
  MetricsHandler metrics_handler_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<HttpServer> admin_;
  std::unique_ptr<GrpcServer> grpc_;
  std::shared_ptr<TlsContext> tls_;  // null: plain HTTP
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<GpuSampler> gpus_;  // null: not asked
  std::unique_ptr<ServingDevice> device_;
  // Null: there are no routes. Ends before what it answers through, and after the scheduler, whose
  // last jobs may come to it.
  std::unique_ptr<Rescuer> rescuer_;
  // Ends before what it answers through, and after all that submits to it.
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ModelManager> manager_;  // last: it calls all of the above
};

}  // namespace verdict
