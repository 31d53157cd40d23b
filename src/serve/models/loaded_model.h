#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/metrics.h"
#include "release/repository/model_config.h"
#include "release/repository/repository.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace verdict {

/// One version of a model, ready to answer: its engine, a session for each worker thread, and its
/// counters, looked up once. Immutable apart from the sessions, each of which belongs to its
/// worker.
class LoadedModel {
 public:
  /// Loads an engine file, checks its golden vectors, makes the sessions and warms them up, for a
  /// few seconds at most. Not for a request's thread. Errors: as Engine::Load, Engine::CheckGolden,
  /// Session::Create and WarmUp. Throws std::bad_alloc.
  static Result<std::shared_ptr<const LoadedModel>> Load(const std::string& name,
                                                         const VersionFile& file,
                                                         const ModelConfig& config,
                                                         Metrics* metrics);

  /// The same from an engine in memory.
  static Result<std::shared_ptr<const LoadedModel>> FromEngine(const std::string& name,
                                                               int64_t version,
                                                               std::shared_ptr<const Engine> engine,
                                                               Metrics* metrics,
                                                               const ModelConfig& config = {});

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const std::string& version_text() const { return version_text_; }
  const Engine& engine() const { return *engine_; }
  const ModelConfig& config() const { return config_; }
  ModelMetrics& metrics() const { return *metrics_; }

  /// How many runs there may be at a time.
  size_t instances() const {
    return config_.instance_count != 0 ? config_.instance_count : sessions_.size();
  }

  /// Threads: the worker's own.
  Session& session(int worker) const { return *sessions_[static_cast<size_t>(worker)]; }

 private:
  LoadedModel() = default;
  std::string name_;
  int64_t version_ = 0;
  std::string version_text_;
  std::shared_ptr<const Engine> engine_;
  ModelConfig config_;
  std::shared_ptr<ModelMetrics> metrics_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace verdict
