#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "observe/logging.h"
#include "serve/http/worker.h"

namespace verdict {

/// An HTTP/1.1 server: one thread accepts, `workers` threads read, answer and write, each with the
/// connections it was given. Its public calls belong to one thread.
class HttpServer {
 public:
  /// Listens, and starts to serve. `handler` must outlive the server.
  ///
  /// host: an IP address, or a name that stands for one.
  /// port: 0 picks a free one.
  /// tls: encrypts, with client certificates as it says; null: plain HTTP.
  /// first_worker: the number of the first worker, for handlers that several servers share.
  /// Errors: kUnavailable (port in use, not allowed), kInvalidArgument (no such host),
  /// kResourceExhausted (threads).
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, uint16_t port,
                                                   int workers, const HttpLimits& limits,
                                                   HttpHandler& handler,
                                                   std::shared_ptr<TlsContext> tls = nullptr,
                                                   int first_worker = 0);
  /// Stops at once if it is still running.
  ~HttpServer();

  /// "http://127.0.0.1:8000", or https, with the port that was picked.
  const std::string& url() const { return url_; }
  uint16_t port() const { return port_; }
  int connections() const { return shared_.connections.load(); }

  /// From now on every response closes its connection; everything is still served.
  void BeginDrain() { shared_.draining.store(true); }
  /// Runs `task` on every worker's thread, with the worker's number, when that is free; a worker
  /// that has stopped leaves it out. Threads: any.
  void PostToWorkers(const std::function<void(int worker)>& task);
  /// Takes no new connections and closes those on which no request has begun.
  void StopAccepting();
  /// Waits until all connections are closed. Returns: false if `patience` passed before that.
  bool WaitUntilIdle(std::chrono::milliseconds patience);
  /// Closes all connections and ends all threads.
  void Stop();

 private:
  HttpServer(int workers, int first_worker, const HttpLimits& limits, HttpHandler& handler,
             std::shared_ptr<TlsContext> tls);
  Status Listen(const std::string& host, uint16_t port);
  void Accept();
  void OnAccepted(Worker& worker, boost::asio::ip::tcp::socket socket);
  Worker& LeastLoaded();

  HttpShared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  boost::asio::io_context accept_context_{1};
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer accept_pause_;
  LogLimit accept_log_;
  size_t next_worker_ = 0;
  std::string url_;
  uint16_t port_ = 0;
  // As many as were started: fewer than all where the machine refused one.
  std::thread accept_thread_;
  std::vector<std::thread> threads_;  // the workers'
};

}  // namespace verdict
