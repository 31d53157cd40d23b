#include "serve/server.h"

#include <spdlog/spdlog.h>

#include <system_error>
#include <utility>

#include "base/cpu_count.h"
#include "release/repository/repository.h"
#include "serve/models/loader.h"

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
  VERDICT_ASSIGN_OR_RETURN(RepositoryListing listing, ListRepository(options.repository));
  std::unique_ptr<Server> server(new Server(options));
  const ServerOptions& complete = server->options_;
  VERDICT_ASSIGN_OR_RETURN(server->scheduler_, Scheduler::Start(complete.compute_threads));
  server->service_.SetScheduler(server->scheduler_.get());
  if (!complete.trace_collector.url.empty()) {
    VERDICT_RETURN_IF_ERROR(
        server->service_.tracer().Start(complete.trace_collector, complete.trace));
  }
  AnnounceModels(listing, &server->service_.metrics(), &server->service_.models());
  VERDICT_ASSIGN_OR_RETURN(server->metrics_,
                           HttpServer::Start(complete.metrics_host, complete.metrics_port, 1,
                                             MetricsLimits(), server->metrics_handler_));
  VERDICT_ASSIGN_OR_RETURN(
      server->http_, HttpServer::Start(complete.http_host, complete.http_port, complete.io_threads,
                                       complete.limits, server->inference_handler_));
  try {
    server->loader_ = std::thread([&server = *server, listing = std::move(listing)] {
      LoadModels(listing, server.stop_loading_, &server.service_.metrics(),
                 &server.service_.models());
      server.service_.FinishLoading(server.service_.models().Current()->AnyLoaded());
      server.loading_done_.store(true);
      server.loading_done_.notify_all();
    });
  } catch (const std::system_error&) {
    return ResourceExhausted(
        "cannot start the thread that loads models; lower --io-threads or raise the process limit");
  }
  return server;
}

Server::~Server() {
  stop_loading_.store(true);
  if (loader_.joinable()) loader_.join();
}

bool Server::WaitUntilLoaded() {
  loading_done_.wait(false);
  return service_.ready();
}

void Server::Shutdown() {
  stop_loading_.store(true);
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
  if (loader_.joinable()) loader_.join();
}

}  // namespace verdict
