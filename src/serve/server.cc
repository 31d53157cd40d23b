#include "serve/server.h"

#include <spdlog/spdlog.h>

#include <utility>
#include <vector>

#include "base/cpu_count.h"
#include "serve/device/device_sample.h"
#include "serve/tls/grpc_credentials.h"

namespace verdict {
namespace {

/// How long requests under way may take to end once no more are taken.
constexpr std::chrono::milliseconds kGrace{10'000};

/// How long the last traces may take to their collector.
constexpr std::chrono::milliseconds kTracePatience{2'000};

ServerOptions Completed(ServerOptions options) {
  if (options.io_threads <= 0) options.io_threads = AvailableCpus();
  if (options.grpc_threads <= 0) options.grpc_threads = AvailableCpus();
  if (!options.grpc_enabled) options.grpc_threads = 0;
  if (options.compute_threads <= 0) options.compute_threads = AvailableCpus();
  options.trace_collector.service_version = VERDICT_VERSION;
  return options;
}

/// Of ports that serve few, short requests.
HttpLimits MetricsLimits() {
  HttpLimits limits;
  limits.max_body_bytes = 4096;
  limits.max_connections = 64;
  return limits;
}

HttpLimits AdminLimits() {
  HttpLimits limits;
  limits.max_connections = 64;
  return limits;
}

/// Without a clients file the admin port takes everybody: only this machine may reach it.
Status CheckAdminPort(const ServerOptions& options) {
  const std::string& host = options.admin_host;
  if (!options.admission.auth.clients_file.empty()) return OkStatus();
  if (host == "localhost" || host == "::1" || host.starts_with("127.")) return OkStatus();
  return InvalidArgument(
      "the admin port at '" + host +
      "' would take admin calls from other machines without credentials: bind it "
      "to 127.0.0.1 (admin.host), or name a clients file (auth.clients_file)");
}

Result<std::unique_ptr<Gate>> MakeGate(const ServerOptions& options) {
  auto gate = Gate::Make(options.admission);
  if (!gate.ok()) return gate.status().WithContext("key 'auth.clients_file'");
  return gate;
}

/// Null without TLS.
Result<std::shared_ptr<TlsContext>> MakeTls(const ServerOptions& options) {
  if (!options.tls.enabled()) return std::shared_ptr<TlsContext>();
  auto context = TlsContext::Load(options.tls, {"http/1.1"});
  if (!context.ok()) return context.status().WithContext("section 'tls'");
  return context;
}

Status CheckGrpc(const ServerOptions& options) {
  return options.grpc_enabled && options.tls.enabled() ? CheckGrpcTls(options.tls) : OkStatus();
}

Status CheckTracing(const ServerOptions& options) {
  if (options.trace_collector.url.empty()) return OkStatus();
  return CheckCollectorUrl(options.trace_collector.url).WithContext("key 'tracing.endpoint'");
}

/// Whose port could not be had is for the caller to say; a server does not know its key.
Result<std::unique_ptr<HttpServer>> WithKey(const char* key,
                                            Result<std::unique_ptr<HttpServer>> server) {
  if (server.status().code() != StatusCode::kUnavailable) return server;
  return Unavailable(server.status().message() + ": --set " + key + "=PORT");
}

}  // namespace

std::vector<Status> Server::Check(const ServerOptions& options) {
  std::vector<Status> problems = {CheckAdminPort(options),   MakeGate(options).status(),
                                  MakeTls(options).status(), CheckGrpc(options),
                                  CheckTracing(options),     ServingDevice::Check(options.device)};
  std::erase_if(problems, [](const Status& status) { return status.ok(); });
  return problems;
}

// The admin port's worker comes after those of inference.
Server::Server(const ServerOptions& options, std::unique_ptr<Gate> gate)
    : options_(Completed(options)),
      // HTTP's, the admin port's, gRPC's.
      service_(options_.io_threads + 1 + options_.grpc_threads, options_.compute_threads,
               options_.shared_memory, std::move(gate)),
      inference_handler_(service_, options_.limits.max_body_bytes, ListenerKind::kInference),
      admin_handler_(service_, AdminLimits().max_body_bytes, ListenerKind::kAdmin),
      metrics_handler_(service_, [this](ServerSample* sample) { Sample(sample); }) {
  service_.metrics().AddReloads("configuration");
}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  VERDICT_RETURN_IF_ERROR(CheckAdminPort(options));
  VERDICT_RETURN_IF_ERROR(CheckGrpc(options));
  VERDICT_RETURN_IF_ERROR(CheckTracing(options));
  // Before they are read: what changes while the server starts is seen afterwards.
  const std::string clients_stamp = StampOf({options.admission.auth.clients_file});
  const std::string certificate_stamp = StampOf(options.tls.files());
  VERDICT_ASSIGN_OR_RETURN(auto gate, MakeGate(options));
  std::unique_ptr<Server> server(new Server(options, std::move(gate)));
  const ServerOptions& complete = server->options_;
  VERDICT_ASSIGN_OR_RETURN(server->scheduler_, Scheduler::Start(complete.compute_threads));
  Service& service = server->service_;
  service.SetScheduler(server->scheduler_.get());
  service.SetDeadlines(complete.deadline);
  service.SetFaultInjection(complete.fault_injection);
  for (const auto& [name, route] : complete.routes) service.routes().Add(name, route);
  if (!complete.routes.empty()) {
    VERDICT_ASSIGN_OR_RETURN(server->rescuer_, Rescuer::Start(service, service.rescue_slot()));
    service.SetRescuer(server->rescuer_.get());
  }
  if (!complete.trace_collector.url.empty()) {
    VERDICT_RETURN_IF_ERROR(service.tracer().Start(complete.trace_collector, complete.trace));
  }
  server->device_ = ServingDevice::Open(complete.device);
  service.SetDevice(server->device_.get());
  ModelHost host;
  host.workers = service.workers();
  for (int i = 0; i < host.workers; ++i) host.arenas.push_back(std::make_shared<Arena>());
  host.metrics = &service.metrics();
  host.scheduler = server->scheduler_.get();
  host.device = server->device_.get();
  VERDICT_ASSIGN_OR_RETURN(
      server->manager_,
      ModelManager::Create(complete.repository, complete.models, host, &service.models(),
                           [&service](bool ready) { service.SetModelsReady(ready); }));
  service.SetManager(server->manager_.get());
  VERDICT_ASSIGN_OR_RETURN(server->tls_, MakeTls(complete));
  VERDICT_RETURN_IF_ERROR(server->StartReloader(certificate_stamp, clients_stamp));
  if (complete.gpu_metrics_interval.count() > 0) {
    GpuSamplerOptions gpus;
    gpus.interval = complete.gpu_metrics_interval;
    VERDICT_ASSIGN_OR_RETURN(server->gpus_, GpuSampler::Start(gpus));
  }
  VERDICT_ASSIGN_OR_RETURN(
      server->metrics_,
      WithKey("metrics.port", HttpServer::Start(complete.metrics_host, complete.metrics_port, 1,
                                                MetricsLimits(), server->metrics_handler_)));
  VERDICT_ASSIGN_OR_RETURN(
      server->http_,
      WithKey("http.port",
              HttpServer::Start(complete.http_host, complete.http_port, complete.io_threads,
                                complete.limits, server->inference_handler_, server->tls_)));
  VERDICT_ASSIGN_OR_RETURN(
      server->admin_,
      WithKey("admin.port",
              HttpServer::Start(complete.admin_host, complete.admin_port, 1, AdminLimits(),
                                server->admin_handler_, server->tls_, complete.io_threads)));
  VERDICT_RETURN_IF_ERROR(server->StartGrpc());
  // An idle worker would else keep the models of its last request. (gRPC's look now and then.)
  service.models().SetListener([&server = *server, &models = service.models()] {
    const auto refresh = [&models](int worker) { models.ForWorker(worker); };
    if (server.rescuer_ != nullptr) server.rescuer_->Refresh();
    server.http_->PostToWorkers(refresh);
    server.admin_->PostToWorkers(refresh);
  });
  VERDICT_RETURN_IF_ERROR(server->manager_->Start());
  return server;
}

/// Also where a start fails half way, or nobody called Shutdown: the transports end first, since
/// their threads use all the rest.
Server::~Server() {
  if (manager_ != nullptr) manager_->Stop();  // answers the calls that wait for a load
  if (grpc_ != nullptr) grpc_->Stop(std::chrono::milliseconds(0));
  for (HttpServer* const http : {http_.get(), admin_.get(), metrics_.get()}) {
    if (http != nullptr) http->Stop();
  }
}

Status Server::StartGrpc() {
  if (!options_.grpc_enabled) return OkStatus();
  GrpcOptions grpc;
  grpc.host = options_.grpc_host;
  grpc.port = options_.grpc_port;
  grpc.first_worker = options_.io_threads + 1;
  grpc.workers = options_.grpc_threads;
  grpc.limits = options_.grpc_limits;
  if (tls_ != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(grpc.credentials, MakeGrpcCredentials(tls_));
  }
  VERDICT_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(grpc, service_));
  return OkStatus();
}

Status Server::StartReloader(const std::string& certificate_stamp,
                             const std::string& clients_stamp) {
  std::vector<Reloader::Item> items;
  if (tls_ != nullptr) {
    items.push_back({"certificate", options_.tls.files(), certificate_stamp,
                     [this] { return tls_->Reload(); }});
  }
  if (const auto& file = options_.admission.auth.clients_file; !file.empty()) {
    items.push_back({"clients file", {file}, clients_stamp, [this] {
                       return service_.gate().authenticator().Reload();
                     }});
  }
  if (items.empty()) return OkStatus();
  // The label of the metrics is one word.
  const auto label = [](const std::string& name) { return name.substr(0, name.find(' ')); };
  for (const Reloader::Item& item : items) service_.metrics().AddReloads(label(item.name));
  VERDICT_ASSIGN_OR_RETURN(reloader_,
                           Reloader::Start(std::move(items), options_.tls.reload,
                                           [this, label](const std::string& name, bool ok) {
                                             service_.metrics().CountReload(label(name), ok);
                                           }));
  return OkStatus();
}

/// What only the server knows of a scrape.
void Server::Sample(ServerSample* sample) {
  if (gpus_ != nullptr) sample->gpus = gpus_->Last();
  const auto models = service_.models().Current();
  sample->device = SampleDevice(*device_, *models);
  for (const auto& [name, route] : service_.routes().all()) {
    sample->routes.push_back(route->Sample(*models));
  }
  if (tls_ == nullptr) return;
  sample->certificates.push_back({"server", tls_->expires_s()});
  if (const int64_t ca = tls_->client_ca_expires_s(); ca != 0) {
    sample->certificates.push_back({"client_ca", ca});
  }
  sample->handshakes_succeeded = tls_->handshakes_succeeded();
  sample->handshakes_failed = tls_->handshakes_failed();
}

bool Server::ReloadSecurity() {
  if (reloader_ == nullptr) return false;
  reloader_->ReloadNow();
  return true;
}

bool Server::WaitUntilLoaded() {
  manager_->WaitUntilSettled();
  return service_.ready();
}

void Server::Shutdown() {
  manager_->BeginStop();
  scheduler_->Hurry();
  service_.BeginDrain();
  http_->BeginDrain();
  admin_->BeginDrain();
  std::this_thread::sleep_for(options_.drain);
  http_->StopAccepting();
  admin_->StopAccepting();
  const auto end = std::chrono::steady_clock::now() + kGrace;
  if (grpc_ != nullptr) grpc_->Stop(kGrace);
  for (HttpServer* const http : {http_.get(), admin_.get()}) {
    if (!http->WaitUntilIdle(std::chrono::duration_cast<std::chrono::milliseconds>(
            end - std::chrono::steady_clock::now()))) {
      spdlog::warn("{} connections did not end in {} ms and are cut", http->connections(),
                   kGrace.count());
    }
    http->Stop();
  }
  service_.tracer().Stop(kTracePatience);
  metrics_->Stop();
  manager_->Stop();
}

}  // namespace verdict
