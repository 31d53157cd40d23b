#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "observe/metrics.h"
#include "release/repository/repository.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace verdict {

/// One version of a model, ready to answer: its engine, a session for each worker thread, and its
/// counters, looked up once. Immutable apart from the sessions, each of which belongs to its
/// worker.
class LoadedModel {
 public:
  /// Loads an engine file, checks its golden vectors and makes the sessions. Not for a request's
  /// thread. Errors: as Engine::Load, Engine::CheckGolden and Session::Create.
  static Result<std::shared_ptr<const LoadedModel>> Load(const std::string& name,
                                                         const VersionFile& file, Metrics* metrics);

  /// The same from an engine in memory.
  static Result<std::shared_ptr<const LoadedModel>> FromEngine(const std::string& name,
                                                               int64_t version,
                                                               std::shared_ptr<const Engine> engine,
                                                               Metrics* metrics);

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const std::string& version_text() const { return version_text_; }
  const Engine& engine() const { return *engine_; }
  ModelMetrics& metrics() const { return *metrics_; }

  /// Threads: the worker's own.
  Session& session(int worker) const { return *sessions_[static_cast<size_t>(worker)]; }

 private:
  LoadedModel() = default;
  std::string name_;
  int64_t version_ = 0;
  std::string version_text_;
  std::shared_ptr<const Engine> engine_;
  std::shared_ptr<ModelMetrics> metrics_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace verdict
