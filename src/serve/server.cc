#include "serve/server.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "base/cpu_count.h"

namespace verdict {
namespace {

/// How long requests under way may take to end once no more are taken.
constexpr std::chrono::milliseconds kGrace{10'000};

/// How long the last traces may take to their collector.
constexpr std::chrono::milliseconds kTracePatience{2'000};

ServerOptions Completed(ServerOptions options) {
  if (options.io_threads <= 0) options.io_threads = AvailableCpus();
  if (options.compute_threads <= 0) options.compute_threads = AvailableCpus();
  options.trace_collector.service_version = VERDICT_VERSION;
  return options;
}

HttpLimits MetricsLimits() {
  HttpLimits limits;
  limits.max_body_bytes = 4096;
  limits.max_connections = 64;
  return limits;
}

}  // namespace

Server::Server(const ServerOptions& options)
    : options_(Completed(options)),
      service_(options_.io_threads, options_.compute_threads, options_.shared_memory),
      inference_handler_(service_, options_.limits.max_body_bytes),
      metrics_handler_(service_) {}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  std::unique_ptr<Server> server(new Server(options));
  const ServerOptions& complete = server->options_;
  VERDICT_ASSIGN_OR_RETURN(server->scheduler_, Scheduler::Start(complete.compute_threads));
  Service& service = server->service_;
  service.SetScheduler(server->scheduler_.get());
  service.SetDeadlines(complete.deadline);
  if (!complete.trace_collector.url.empty()) {
    VERDICT_RETURN_IF_ERROR(
        server->service_.tracer().Start(complete.trace_collector, complete.trace));
  }
  ModelHost host;
  host.workers = service.workers();
  host.metrics = &service.metrics();
  host.scheduler = server->scheduler_.get();
  VERDICT_ASSIGN_OR_RETURN(
      server->manager_,
      ModelManager::Create(complete.repository, complete.models, host, &service.models(),
                           [&service](bool ready) { service.SetModelsReady(ready); }));
  service.SetManager(server->manager_.get());
  VERDICT_ASSIGN_OR_RETURN(server->metrics_,
                           HttpServer::Start(complete.metrics_host, complete.metrics_port, 1,
                                             MetricsLimits(), server->metrics_handler_));
  VERDICT_ASSIGN_OR_RETURN(
      server->http_, HttpServer::Start(complete.http_host, complete.http_port, complete.io_threads,
                                       complete.limits, server->inference_handler_));
  // An idle worker would else keep the models of its last request.
  service.models().SetListener([&http = *server->http_, &models = service.models()] {
    http.PostToWorkers([&models](int worker) { models.ForWorker(worker); });
  });
  VERDICT_RETURN_IF_ERROR(server->manager_->Start());
  return server;
}

Server::~Server() = default;

bool Server::WaitUntilLoaded() {
  manager_->WaitUntilSettled();
  return service_.ready();
}

void Server::Shutdown() {
  manager_->BeginStop();
  service_.BeginDrain();
  http_->BeginDrain();
  std::this_thread::sleep_for(options_.drain);
  http_->StopAccepting();
  if (!http_->WaitUntilIdle(kGrace)) {
    spdlog::warn("{} connections did not end in {} ms and are cut", http_->connections(),
                 kGrace.count());
  }
  http_->Stop();
  service_.tracer().Stop(kTracePatience);
  metrics_->Stop();
  manager_->Stop();
}

}  // namespace verdict
