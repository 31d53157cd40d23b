#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "observe/metrics.h"
#include "release/repository/model_config.h"
#include "release/repository/repository.h"
#include "release/repository/verify_version.h"
#include "runtime/engine.h"
#include "runtime/session.h"
#include "serve/batching/scheduler.h"
#include "serve/device/serving_device.h"

namespace verdict {

class LoadedModel;

/// What models are loaded with.
struct ModelHost {
  int workers = 1;  // threads of the transports, each of which runs cheap requests itself
  Metrics* metrics = nullptr;
  Scheduler* scheduler = nullptr;
  VersionTrust trust = {};
  ServingDevice* device = nullptr;  // null: models are not put on any
  /// The working memory of each worker, which its sessions of all models share.
  std::vector<std::shared_ptr<Arena>> arenas;
  /// Gets a model that nobody holds any more, on the thread that let go of it last, which may be a
  /// request's. Empty: it is freed there.
  std::function<void(std::unique_ptr<const LoadedModel>)> free;
};

/// One version of a model, ready to answer: its engine, a session for each worker thread, its queue
/// for all that those do not run themselves, and its counters, looked up once. Immutable apart from
/// the sessions, each of which belongs to its worker. The last to let go of it hands it to
/// ModelHost::free.
class LoadedModel : public std::enable_shared_from_this<LoadedModel> {
 public:
  /// Loads an engine file, checks its golden vectors, makes the sessions and warms them up, for a
  /// few seconds at most. A version with a manifest is verified first, and the engine is of the
  /// bytes that were. Not for a request's thread. Errors: as VerifyVersion, Engine::Load,
  /// CheckDeclaredTensors, Engine::CheckGolden, Session::Create and WarmUp. Throws std::bad_alloc.
  static Result<std::shared_ptr<const LoadedModel>> Load(const std::string& name,
                                                         const VersionFile& file,
                                                         const ModelConfig& config,
                                                         const ModelHost& host);

  /// The same from an engine in memory.
  static Result<std::shared_ptr<const LoadedModel>> FromEngine(const std::string& name,
                                                               int64_t version,
                                                               std::shared_ptr<const Engine> engine,
                                                               const ModelConfig& config,
                                                               const ModelHost& host);
  ~LoadedModel();

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const std::string& version_text() const { return version_text_; }
  const Engine& engine() const { return *engine_; }
  const std::shared_ptr<const Engine>& shared_engine() const { return engine_; }
  /// The engine's, with the states of sequences marked.
  std::span<const TensorSpec> inputs() const { return inputs_; }
  std::span<const TensorSpec> outputs() const { return outputs_; }
  ModelMetrics& metrics() const { return *metrics_; }
  const ModelConfig& config() const { return config_; }
  const std::shared_ptr<ModelQueue>& queue() const { return queue_; }
  /// Whether a cheap request runs on its worker's own thread.
  enum class OwnThread { kAlways, kWhenLone, kNever };
  OwnThread own_thread() const {
    if (config_.sequence_batching.has_value() || config_.cpu_instances() > 0) {
      return OwnThread::kNever;
    }
    if (!config_.dynamic_batching.has_value()) return OwnThread::kAlways;
    const DynamicBatching& batching = *config_.dynamic_batching;
    return batching.preserve_ordering || batching.max_queue_delay_microseconds > 0
               ? OwnThread::kNever
               : OwnThread::kWhenLone;
  }

  /// Who has answered, for the client: "cpu" or the device's backend; empty where the engine has no
  /// plan for a device, and there is nothing to tell.
  std::string_view ServedBy(DeviceOutcome device) const {
    if (engine_->contents().device_plans.empty()) return {};
    return device == DeviceOutcome::kAnswered ? std::string_view(device_backend_)
                                              : std::string_view("cpu");
  }

  /// Threads: the worker's own.
  Session& session(int worker) const { return *sessions_[static_cast<size_t>(worker)]; }

 private:
  LoadedModel() = default;
  std::string name_;
  int64_t version_ = 0;
  std::string version_text_;
  ModelConfig config_;
  std::shared_ptr<const Engine> engine_;
  std::vector<TensorSpec> inputs_, outputs_;
  std::string device_backend_;  // of the server's device
  std::shared_ptr<ModelQueue> queue_;
  std::shared_ptr<ModelMetrics> metrics_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace verdict
