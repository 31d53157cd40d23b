#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/models/loaded_model.h"

namespace verdict {

/// As the repository index names it.
enum class ModelState { kReady, kLoading, kUnloading, kUnavailable };
std::string_view ModelStateName(ModelState state);  // "READY"

/// One version of the repository: loaded, or why not.
struct ModelVersion {
  int64_t version = 0;
  std::shared_ptr<const LoadedModel> loaded;  // null: `reason` says why
  std::string reason;  // also where a newer file of a version that is loaded was refused
  ModelState unready = ModelState::kUnavailable;  // what it is while `loaded` is null

  ModelState state() const { return loaded != nullptr ? ModelState::kReady : unready; }
};

/// The models of the repository at one moment. Immutable once it is in a store.
class ModelSet {
 public:
  using Versions = std::vector<ModelVersion>;  // ascending

  const std::map<std::string, Versions, std::less<>>& models() const { return models_; }
  bool AnyLoaded() const;

  /// The version asked for; of an empty `version`, the highest that is loaded. Errors: kNotFound
  /// (unknown model or version), kInvalidArgument (not a version), kUnavailable (known but not
  /// loaded, with the reason).
  Result<const LoadedModel*> Find(std::string_view model, std::string_view version) const;

  /// Adds a version, or replaces it.
  void Put(const std::string& model, ModelVersion version);
  /// Adds a model, so that it is known even if it has no version.
  void Put(const std::string& model) { models_[model]; }

 private:
  std::map<std::string, Versions, std::less<>> models_;
};

/// Holds the current ModelSet and swaps it while requests run. A worker reads its own copy of the
/// pointer; after a swap it fetches the new one with its next request, or when it is told to.
class ModelStore {
 public:
  explicit ModelStore(int workers);

  /// The set that this worker serves now; valid until its next call. Threads: the worker's own.
  const ModelSet& ForWorker(int worker);
  /// Threads: any.
  std::shared_ptr<const ModelSet> Current() const;
  /// Threads: any.
  void Replace(std::shared_ptr<const ModelSet> models);

  /// `on_replace` is called after each swap, on the thread that made it. It is to make every worker
  /// call ForWorker: an idle one would else keep models alive that nobody serves. Null: nobody is
  /// told; once this returns the former one is not being called. Threads: any but from within it.
  void SetListener(std::function<void()> on_replace);

 private:
  struct alignas(64) WorkerCopy {
    uint64_t generation = 0;
    std::shared_ptr<const ModelSet> models;
  };
  mutable std::mutex mutex_;  // guards current_
  std::shared_ptr<const ModelSet> current_;
  std::atomic<uint64_t> generation_{0};
  std::mutex listener_mutex_;  // guards on_replace_, also while it is called
  std::function<void()> on_replace_;
  std::vector<WorkerCopy> copies_;
};

}  // namespace verdict
