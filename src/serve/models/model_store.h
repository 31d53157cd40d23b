#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/models/loaded_model.h"

namespace verdict {

/// One version of the repository: loaded, or why not.
struct ModelVersion {
  int64_t version = 0;
  std::shared_ptr<const LoadedModel> loaded;  // null: `reason` says why
  std::string reason;
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

 private:
  std::map<std::string, Versions, std::less<>> models_;
};

/// Holds the current ModelSet and swaps it while requests run. A worker reads its own copy of the
/// pointer; after a swap it fetches the new one with its next request.
class ModelStore {
 public:
  explicit ModelStore(int workers);

  /// The set that this worker serves now; valid until its next call. Threads: the worker's own.
  const ModelSet& ForWorker(int worker);
  /// Threads: any.
  std::shared_ptr<const ModelSet> Current() const;
  /// Threads: any.
  void Replace(std::shared_ptr<const ModelSet> models);

 private:
  struct alignas(64) WorkerCopy {
    uint64_t generation = 0;
    std::shared_ptr<const ModelSet> models;
  };
  mutable std::mutex mutex_;  // guards current_
  std::shared_ptr<const ModelSet> current_;
  std::atomic<uint64_t> generation_{0};
  std::vector<WorkerCopy> copies_;
};

}  // namespace verdict
