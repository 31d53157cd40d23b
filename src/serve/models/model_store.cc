#include "serve/models/model_store.h"

#include <algorithm>
#include <utility>

#include "release/repository/repository.h"

namespace verdict {
namespace {

/// A name from a request as messages show it.
std::string ForMessage(std::string_view name) {
  return "'" + std::string(name.substr(0, kMaxModelNameBytes)) + "'";
}

}  // namespace

bool ModelSet::AnyLoaded() const {
  return std::any_of(models_.begin(), models_.end(), [](const auto& entry) {
    return std::any_of(entry.second.begin(), entry.second.end(),
                       [](const ModelVersion& version) { return version.loaded != nullptr; });
  });
}

Result<const LoadedModel*> ModelSet::Find(std::string_view model, std::string_view version) const {
  const auto it = models_.find(model);
  if (it == models_.end()) {
    return NotFound(
        "unknown model " + ForMessage(model) +
        "; POST /v2/repository/index lists the models, which are read when the server starts");
  }
  const Versions& versions = it->second;
  if (version.empty()) {
    for (auto candidate = versions.rbegin(); candidate != versions.rend(); ++candidate) {
      if (candidate->loaded != nullptr) return candidate->loaded.get();
    }
    return Unavailable("model " + ForMessage(model) + " is not served: " +
                       (versions.empty() ? "it has no versions" : versions.back().reason));
  }
  VERDICT_ASSIGN_OR_RETURN(const int64_t number, ParseVersion(version));
  for (const ModelVersion& candidate : versions) {
    if (candidate.version != number) continue;
    if (candidate.loaded != nullptr) return candidate.loaded.get();
    return Unavailable("model " + ForMessage(model) + " version " + std::to_string(number) +
                       " is not served: " + candidate.reason);
  }
  return NotFound("model " + ForMessage(model) + " has no version " + std::to_string(number));
}

void ModelSet::Put(const std::string& model, ModelVersion version) {
  Versions& versions = models_[model];
  const auto at = std::lower_bound(
      versions.begin(), versions.end(), version.version,
      [](const ModelVersion& entry, int64_t number) { return entry.version < number; });
  if (at != versions.end() && at->version == version.version) {
    *at = std::move(version);
  } else {
    versions.insert(at, std::move(version));
  }
}

ModelStore::ModelStore(int workers)
    : current_(std::make_shared<const ModelSet>()), copies_(static_cast<size_t>(workers)) {
  for (WorkerCopy& copy : copies_) copy.models = current_;
}

const ModelSet& ModelStore::ForWorker(int worker) {
  WorkerCopy& copy = copies_[static_cast<size_t>(worker)];
  if (copy.generation != generation_.load(std::memory_order_acquire)) {
    std::lock_guard lock(mutex_);
    copy.models = current_;
    copy.generation = generation_.load(std::memory_order_relaxed);
  }
  return *copy.models;
}

std::shared_ptr<const ModelSet> ModelStore::Current() const {
  std::lock_guard lock(mutex_);
  return current_;
}

void ModelStore::Replace(std::shared_ptr<const ModelSet> models) {
  std::lock_guard lock(mutex_);
  current_ = std::move(models);
  generation_.fetch_add(1, std::memory_order_release);
}

}  // namespace verdict
