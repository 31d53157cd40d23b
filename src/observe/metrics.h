#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "observe/device_families.h"
#include "observe/gpu/gpu_sample.h"
#include "observe/local_counter.h"
#include "observe/model_metrics.h"
#include "observe/route_sample.h"
#include "observe/trace/trace_counters.h"

namespace verdict {

/// Counters of one worker thread of the HTTP server. The worker adds, the scrape reads.
struct alignas(64) HttpMetrics {
  LocalCounter connections_opened;
  LocalCounter connections_closed;
  std::array<LocalCounter, 600> responses;  // by status code
};

/// The same of a gRPC worker thread.
struct alignas(64) GrpcMetrics {
  std::array<LocalCounter, 17> responses;  // calls that have ended, by gRPC's status code
};

/// What is counted elsewhere, as it stands at the scrape.
struct ServerSample {
  /// Whether the server takes traffic at this moment.
  bool ready = false;
  /// Calls that were turned away at the door, by reason.
  std::vector<std::pair<std::string_view, uint64_t>> refused;
  struct Certificate {
    std::string_view use;   // "server", "client_ca"
    int64_t expires_s = 0;  // Unix time
  };
  std::vector<Certificate> certificates;  // none without TLS
  uint64_t handshakes_succeeded = 0;      // of HTTP; gRPC does not tell
  uint64_t handshakes_failed = 0;
  std::vector<GpuSample> gpus;         // none without NVML
  std::optional<DeviceSample> device;  // none where models run on no device
  std::vector<RouteSample> routes;
};

/// All that the server counts, in Prometheus' text format. The names are pinned in
/// tests/golden/metrics.txt: dashboards and alert rules depend on them.
class Metrics {
 public:
  /// workers: number of worker threads, HTTP's and gRPC's together.
  explicit Metrics(int workers);

  int workers() const { return static_cast<int>(http_.size()); }

  /// The counters of a model's version, made on first use. Threads: any.
  std::shared_ptr<ModelMetrics> Model(const std::string& model, const std::string& version);

  /// Counts an attempt to load a version of a model. Threads: any.
  void CountLoad(const std::string& model, bool ok);
  /// Forgets the counters of a version that is gone, so that versions that come and go do not pile
  /// up in the scrape; who holds them may go on counting. Threads: any.
  void Retire(const std::string& model, const std::string& version);
  /// Forgets how often a model that is gone was loaded. Threads: any.
  void RetireModel(const std::string& model);

  /// Threads: the worker's own, apart from reading.
  HttpMetrics& http(int worker) { return http_[static_cast<size_t>(worker)]; }

  GrpcMetrics& grpc(int worker) { return grpc_[static_cast<size_t>(worker)]; }

  /// Makes the counters of files that are read again while the server runs, which have just been
  /// read. Threads: any.
  void AddReloads(const std::string& files);
  /// Counts an attempt to read them again. Threads: any.
  void CountReload(const std::string& files, bool ok);

  /// Counts a connection that was closed at once because there were too many. Threads: any.
  void CountRefusedConnection() { refused_.fetch_add(1, std::memory_order_relaxed); }

  TraceCounters& trace() { return trace_; }

  /// The scrape. Threads: any.
  std::string Text(const ServerSample& server) const;

 private:
  std::vector<HttpMetrics> http_;
  std::vector<GrpcMetrics> grpc_;
  std::atomic<uint64_t> refused_{0};
  TraceCounters trace_;
  struct LoadCounts {
    uint64_t success = 0;
    uint64_t failure = 0;
  };
  struct ReloadCounts {
    uint64_t success = 0;
    uint64_t failure = 0;
    int64_t last_success_s = 0;
  };
  mutable std::mutex mutex_;                     // guards all below
  std::map<std::string, LoadCounts> loads_;      // by model
  std::map<std::string, ReloadCounts> reloads_;  // by what the files hold
  std::map<std::pair<std::string, std::string>, std::shared_ptr<ModelMetrics>> models_;
};

}  // namespace verdict
