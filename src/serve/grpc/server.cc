#include "serve/grpc/server.h"

#include <absl/synchronization/mutex.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <system_error>
#include <utility>

#include "base/terminal_text.h"

namespace verdict {
namespace {

/// Ends connections whose peer has vanished without a word.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
/// Pings of clients more often than this, so many times, end their connection.
constexpr int kMinPingIntervalMs = 10'000;
constexpr int kMaxPingStrikes = 3;

/// Threads that gRPC may start for itself: timers, executors.
constexpr int kLibraryThreads = 8;

/// While this thread binds a port: what fails then is told by GrpcServer::Start, in one line.
thread_local bool is_binding = false;

/// gRPC's errors in our log, at most one a second: a client must not be able to fill the disk.
void LogGrpcError(gpr_log_func_args* args) {
  if (args->severity < GPR_LOG_SEVERITY_ERROR || is_binding) return;
  static std::atomic<int64_t> next_log_ms{0};
  const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  int64_t next = next_log_ms.load(std::memory_order_relaxed);
  if (now < next || !next_log_ms.compare_exchange_strong(next, now + 1000)) return;
  spdlog::error("gRPC: {}", TerminalText(args->message));
}

/// Once a process: libraries that would write to stderr themselves, or check themselves.
void SetLibraries() {
  static const bool once = [] {
    // Debian's Abseil keeps a graph of all mutexes that are held, to find deadlocks: a tenth of a
    // request's time.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    gpr_set_log_function(LogGrpcError);
    google::protobuf::SetLogHandler(nullptr);  // requests that do not parse; the client is told
    return true;
  }();
  (void)once;
}

Status CannotStartThreads(int count) {
  return ResourceExhausted("cannot start " + std::to_string(count) +
                           " threads for gRPC; lower --io-threads or raise the process limit");
}

/// Tries whether so many threads can be had: gRPC starts some of its own, and hangs for good where
/// it is refused one (1.51, TimerManager::Shutdown). Errors: kResourceExhausted.
Status TryThreads(int count) {
  std::atomic<bool> end{false};
  std::vector<std::thread> threads;
  Status status;
  try {
    for (int i = 0; i < count; ++i) threads.emplace_back([&end] { end.wait(false); });
  } catch (const std::system_error&) {
    status = CannotStartThreads(count);
  }
  end.store(true);
  end.notify_all();
  for (std::thread& thread : threads) thread.join();
  return status;
}

std::string AddressOf(const std::string& host, int port) {
  const bool is_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

void SetLimits(const GrpcLimits& limits, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(limits.max_message_bytes);
  builder->SetMaxSendMessageSize(-1);  // a model's outputs, which the model bounds
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kMinPingIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kMaxPingStrikes);
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port in use is an error
  // Bookkeeping that nobody reads here.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CENSUS, 0);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // Answers are not compressed. Compressed requests are inflated by InflateMessage: gRPC would look
  // at their size only afterwards.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  grpc::ResourceQuota quota("verdict");
  quota.Resize(limits.max_memory_bytes);
  builder->SetResourceQuota(quota);
}

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcOptions& options,
                                                      Service& service) {
  VERDICT_RETURN_IF_ERROR(TryThreads(options.workers + kLibraryThreads));
  SetLibraries();
  std::unique_ptr<GrpcServer> server(new GrpcServer(service, options.limits));
  grpc::ServerBuilder builder;
  int port = 0;
  server->credentials_ =
      options.credentials != nullptr ? options.credentials : grpc::InsecureServerCredentials();
  builder.AddListeningPort(AddressOf(options.host, options.port), server->credentials_, &port);
  builder.RegisterService(&server->shared_.inference);
  builder.RegisterAsyncGenericService(&server->shared_.generic);
  SetLimits(options.limits, &builder);
  for (int i = 0; i < options.workers; ++i) {
    server->workers_.push_back(std::make_unique<GrpcWorker>(
        options.first_worker + i, server->shared_, builder.AddCompletionQueue()));
  }
  is_binding = true;
  server->server_ = builder.BuildAndStart();
  const bool bound = server->server_ != nullptr && port != 0;
  if (!bound) server.reset();  // whose queues complain of ending before the server that never was
  is_binding = false;
  if (!bound) {
    return Unavailable("cannot listen on " + AddressOf(options.host, options.port) +
                       " for gRPC: the port is in use or the address is none of this machine; "
                       "stop the process that uses it, or choose another with --grpc-port");
  }
  server->address_ = AddressOf(options.host, port);
  for (auto& worker : server->workers_) worker->ExpectFirstCalls();
  try {
    for (auto& worker : server->workers_) {
      server->threads_.emplace_back([&worker = *worker] { worker.Run(); });
    }
  } catch (const std::system_error&) {
    return CannotStartThreads(options.workers);
  }
  return server;
}

GrpcServer::~GrpcServer() { Stop(std::chrono::milliseconds(0)); }

void GrpcServer::Stop(std::chrono::milliseconds patience) {
  shared_.stopping.store(true);
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now() + patience);
  }
  // Operations may begin until the last call is over; then the queues can be closed.
  constexpr std::chrono::milliseconds kStep{2};
  for (auto& worker : workers_) {
    while (!worker->TryClose()) std::this_thread::sleep_for(kStep);
  }
  for (auto& thread : threads_) thread.join();
  // Where a thread could not be started, its queue is emptied here.
  for (size_t i = threads_.size(); i < workers_.size(); ++i) workers_[i]->Run();
  threads_.clear();
  server_.reset();
  workers_.clear();
}

}  // namespace verdict
