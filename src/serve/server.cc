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

ServerOptions Completed(ServerOptions options) {
  if (options.io_threads <= 0) options.io_threads = AvailableCpus();
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
      service_(2 * options_.io_threads),  // HTTP's, then gRPC's
      inference_handler_(service_, options_.limits.max_body_bytes),
      metrics_handler_(service_) {}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(RepositoryListing listing, ListRepository(options.repository));
  std::unique_ptr<Server> server(new Server(options));
  const ServerOptions& complete = server->options_;
  AnnounceModels(listing, &server->service_.metrics(), &server->service_.models());
  VERDICT_ASSIGN_OR_RETURN(server->metrics_,
                           HttpServer::Start(complete.metrics_host, complete.metrics_port, 1,
                                             MetricsLimits(), server->metrics_handler_));
  VERDICT_ASSIGN_OR_RETURN(
      server->http_, HttpServer::Start(complete.http_host, complete.http_port, complete.io_threads,
                                       complete.limits, server->inference_handler_));
  GrpcOptions grpc;
  grpc.host = complete.grpc_host;
  grpc.port = complete.grpc_port;
  grpc.first_worker = complete.io_threads;
  grpc.workers = complete.io_threads;
  grpc.limits = complete.grpc_limits;
  VERDICT_ASSIGN_OR_RETURN(server->grpc_, GrpcServer::Start(grpc, server->service_));
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
  const auto end = std::chrono::steady_clock::now() + kGrace;
  grpc_->Stop(kGrace);
  if (!http_->WaitUntilIdle(std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now()))) {
    spdlog::warn("{} connections did not end in {} ms and are cut", http_->connections(),
                 kGrace.count());
  }
  http_->Stop();
  metrics_->Stop();
  if (loader_.joinable()) loader_.join();
}

}  // namespace verdict
