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

std::string_view ModelStateName(ModelState state) {
  switch (state) {
    case ModelState::kReady:
      return "READY";
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kUnloading:
      return "UNLOADING";
    case ModelState::kUnavailable:
      break;
  }
  return "UNAVAILABLE";
}

bool ModelSet::AnyLoaded() const {
  return std::any_of(models_.begin(), models_.end(), [](const auto& entry) {
    return std::any_of(entry.second.begin(), entry.second.end(),
                       [](const ModelVersion& version) { return version.loaded != nullptr; });
  });
}

Result<const LoadedModel*> ModelSet::Find(std::string_view model, std::string_view version) const {
  const auto it = models_.find(model);
  if (it == models_.end()) {
    return NotFound("unknown model " + ForMessage(model) +
                    "; POST /v2/repository/index lists the models");
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
    std::shared_ptr<const ModelSet> former = std::move(copy.models);
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
  {
    std::lock_guard lock(mutex_);
    current_.swap(models);
    generation_.fetch_add(1, std::memory_order_release);
  }
  models.reset();  // what it alone held is let go of outside of the lock, which requests take
  std::lock_guard lock(listener_mutex_);
  if (on_replace_) on_replace_();
}

void ModelStore::SetListener(std::function<void()> on_replace) {
  std::lock_guard lock(listener_mutex_);
  on_replace_ = std::move(on_replace);
}

}  // namespace verdict
