#include "serve/http/server.h"

#include <spdlog/spdlog.h>

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <system_error>
#include <utility>

#include "serve/http/connection.h"

namespace verdict {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// Connections over the limit that are told so; more are closed without a word.
constexpr int kMaxRefusals = 256;
/// How long to wait when no file descriptor is left.
constexpr std::chrono::milliseconds kAcceptPause{50};
constexpr int kBacklog = 4096;

Result<tcp::endpoint> Resolve(const std::string& host, uint16_t port) {
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (!error) return tcp::endpoint(address, port);
  asio::io_context context;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, std::to_string(port), error);
  if (error || found.empty()) {
    return InvalidArgument("'" + host + "' is no address of this machine: " + error.message());
  }
  return found.begin()->endpoint();
}

std::string UrlOf(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return "http://" + (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

}  // namespace

HttpServer::HttpServer(int workers, int first_worker, const HttpLimits& limits,
                       HttpHandler& handler, std::shared_ptr<TlsContext> tls)
    : shared_(limits, handler, std::move(tls)),
      acceptor_(accept_context_),
      accept_pause_(accept_context_) {
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(first_worker + i, shared_));
  }
}

HttpServer::~HttpServer() { Stop(); }

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host, uint16_t port,
                                                      int workers, const HttpLimits& limits,
                                                      HttpHandler& handler,
                                                      std::shared_ptr<TlsContext> tls,
                                                      int first_worker) {
  std::unique_ptr<HttpServer> server(
      new HttpServer(workers, first_worker, limits, handler, std::move(tls)));
  VERDICT_RETURN_IF_ERROR(server->Listen(host, port));
  server->Accept();
  try {
    for (auto& worker : server->workers_) {
      server->threads_.emplace_back([&worker = *worker] { worker.Run(); });
    }
    server->accept_thread_ = std::thread([&context = server->accept_context_] { context.run(); });
  } catch (const std::system_error&) {
    return ResourceExhausted("cannot start " + std::to_string(workers + 1) +
                             " threads; lower --io-threads or raise the process limit");
  }
  return server;
}

Status HttpServer::Listen(const std::string& host, uint16_t port) {
  VERDICT_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, Resolve(host, port));
  error_code error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(kBacklog, error);
  if (error) {
    std::string message = "cannot listen on " + UrlOf(endpoint) + ": " + error.message();
    message += error == asio::error::address_in_use
                   ? "; stop the process that uses it, or choose another port"
                   : "; choose another address or port";
    return Unavailable(std::move(message));
  }
  const tcp::endpoint local = acceptor_.local_endpoint(error);
  port_ = local.port();
  url_ = UrlOf(local);
  if (shared_.tls != nullptr) url_.insert(4, "s");
  return OkStatus();
}

Worker& HttpServer::LeastLoaded() {
  // Begins with the next in turn, so that equals take turns.
  next_worker_ = (next_worker_ + 1) % workers_.size();
  Worker* best = workers_[next_worker_].get();
  for (size_t i = 1; i < workers_.size(); ++i) {
    Worker* other = workers_[(next_worker_ + i) % workers_.size()].get();
    if (other->load.load(std::memory_order_relaxed) < best->load.load(std::memory_order_relaxed)) {
      best = other;
    }
  }
  return *best;
}

void HttpServer::Accept() {
  Worker& worker = LeastLoaded();
  acceptor_.async_accept(
      worker.context, [this, &worker](const error_code& error, tcp::socket socket) {
        if (!acceptor_.is_open()) return;
        if (!error) {
          OnAccepted(worker, std::move(socket));
          return Accept();
        }
        if (error == asio::error::operation_aborted) return;
        // Out of file descriptors, or the client has gone already.
        if (const auto held_back = accept_log_.Pass()) {
          spdlog::warn("cannot accept a connection: {}{}", error.message(), MoreLikeIt(*held_back));
        }
        accept_pause_.expires_after(kAcceptPause);
        accept_pause_.async_wait([this](const error_code& canceled) {
          if (!canceled && acceptor_.is_open()) Accept();
        });
      });
}

void HttpServer::OnAccepted(Worker& worker, tcp::socket socket) {
  const int limit = shared_.limits.max_connections;
  const int open = shared_.connections.load(std::memory_order_relaxed);
  if (open >= limit + kMaxRefusals) {
    shared_.handler.CountRefused();
    return;
  }
  // Made here so that it is counted at once: a burst cannot slip past the limit.
  auto connection = std::make_shared<Connection>(worker, std::move(socket));
  asio::post(worker.context, [connection = std::move(connection), refuse = open >= limit] {
    refuse ? connection->Refuse() : connection->Start();
  });
}

void HttpServer::PostToWorkers(const std::function<void(int worker)>& task) {
  for (auto& worker : workers_) {
    asio::post(worker->context, [task, index = worker->index] { task(index); });
  }
}

void HttpServer::StopAccepting() {
  asio::post(accept_context_, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    accept_pause_.cancel();
    // After the last connection was handed over, so that each worker sees all of its own.
    for (auto& worker : workers_) worker->CloseIdle();
  });
}

bool HttpServer::WaitUntilIdle(std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kStep{2};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (connections() > 0) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kStep);
  }
  return true;
}

void HttpServer::Stop() {
  accept_context_.stop();
  if (accept_thread_.joinable()) accept_thread_.join();
  for (auto& worker : workers_) worker->Stop();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace verdict
